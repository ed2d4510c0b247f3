"""Ids as tensors, and back: one run of UTF-8 bytes with the end of each, since safetensors holds no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import VersionError

MAX_ID_BYTES = 128


def encode_ids(ids: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay ids out as one run of UTF-8 bytes and the end of each, what `decode_ids` reads."""
    encoded = [text.encode() for text in ids]
    ends = np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends


def decode_ids(tensors: Mapping[str, NDArray[Any]], entity: str) -> list[str]:
    """Return the ids in `ENTITY_ids` and `ENTITY_id_ends`.

    Raises:
        VersionError: they are no ids, or not unique.
    """
    data, ends = tensors[f"{entity}_ids"], tensors[f"{entity}_id_ends"]
    if data.dtype != np.uint8 or data.ndim != 1 or ends.dtype != np.int64 or ends.ndim != 1:
        raise VersionError("ids", f"{entity} ids are {data.dtype}{data.shape} with ends {ends.dtype}{ends.shape}")
    lengths = np.diff(ends, prepend=np.int64(0))
    total = int(ends[-1]) if len(ends) else 0
    if total != len(data) or (lengths < 1).any() or (lengths > MAX_ID_BYTES).any():
        raise VersionError("ids", f"{entity} ids do not fill their {len(data)} bytes with 1 to {MAX_ID_BYTES} each")
    raw = data.tobytes()
    starts = (ends - lengths).tolist()
    try:
        ids = [raw[start:end].decode() for start, end in zip(starts, ends.tolist(), strict=True)]
    except UnicodeDecodeError as error:
        raise VersionError("ids", f"{entity} ids are not UTF-8: {error}") from error
    if len(set(ids)) != len(ids):
        raise VersionError("ids", f"{entity} ids are not unique")
    return ids
