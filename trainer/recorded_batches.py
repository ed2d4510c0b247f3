"""Recorded batches of ranker and tower as one safetensors file: what a bare machine learns from.

Tensors are named `lists.NUMBER.FIELD` and `towers.NUMBER.FIELD`, in the order of learning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from trainer.ranker_learner import ListBatch
from trainer.tower_learner import TowerBatch


@dataclass(frozen=True)
class RecordedBatches:
    """Batches in the order in which they were learnt, and how many rows the tower's tables need for them."""

    lists: Sequence[ListBatch]
    towers: Sequence[TowerBatch]

    @property
    def num_inputs(self) -> int:
        """F, the ranker's inputs."""
        return int(self.lists[0].inputs.shape[1])

    @property
    def num_rows(self) -> tuple[int, int, int]:
        """Users, items and categories that the tower's batches name."""
        users = max(int(batch.users.max(initial=-1)) for batch in self.towers) + 1
        items = max(int(batch.touched.max(initial=-1)) for batch in self.towers) + 1
        return users, items, max(int(batch.categories.max(initial=-1)) for batch in self.towers) + 1


def write_batches(path: Path, recorded: RecordedBatches) -> None:
    """Write a recording."""
    save_file(
        {
            f"{kind}.{number}.{name}": np.ascontiguousarray(getattr(batch, name))
            for kind in ("lists", "towers")
            for number, batch in enumerate(getattr(recorded, kind))
            for name in batch.__dataclass_fields__
        },
        path,
    )


def read_batches(path: Path) -> RecordedBatches:
    """Read a recording.

    Raises:
        ValueError: a field is missing or unknown, or there are no batches: it is of another version of this code.
    """
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} holds no recorded batches ({error}); record them anew") from error
    try:
        recorded = RecordedBatches(
            [ListBatch(**fields) for fields in _numbered(arrays, "lists")],
            [TowerBatch(**fields) for fields in _numbered(arrays, "towers")],
        )
    except TypeError as error:
        raise ValueError(f"{path} does not fit this code ({error}); record it anew") from error
    if not recorded.lists or not recorded.towers:
        raise ValueError(f"{path} holds {len(recorded.lists)} list and {len(recorded.towers)} tower batches; need both")
    return recorded


def _numbered(arrays: dict[str, NDArray[Any]], kind: str) -> Iterator[dict[str, NDArray[Any]]]:
    found: dict[int, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        prefix, number, name = key.split(".", 2)
        if prefix == kind:
            found.setdefault(int(number), {})[name] = array
    yield from (found[number] for number in sorted(found))
