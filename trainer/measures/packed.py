"""Arrays in JSON, for the state of metrics: exact, compact, no pickle."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as what JSON can hold."""
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data}


def unpack_array(packed: Mapping[str, Any]) -> NDArray[Any]:
    """Return what `pack_array` packed."""
    flat = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.dtype(packed["dtype"]))
    return flat.reshape(packed["shape"]).copy()


def pack_sparse(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return counts, most of them zero, as places and values."""
    flat = counts.ravel()
    places = np.flatnonzero(flat)
    return {"places": pack_array(places), "values": pack_array(flat[places])}


def unpack_sparse(packed: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return what `pack_sparse` packed, of the shape that it had."""
    counts = np.zeros(shape, dtype=np.int64)
    counts.reshape(-1)[unpack_array(packed["places"])] = unpack_array(packed["values"])
    return counts
