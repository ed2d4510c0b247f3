"""Batches of steps that were not taken, kept for people to look at: `STATE/trainer/refused_batches/STEP-PART/`.

Each is `batch.safetensors`, the arrays that the step was computed from, and `batch.json`: part, step, reason, and the
records by offset. They are written whole or not at all, again with the same content when a restart repeats the batch,
and the oldest go when they are too many or too large. Nothing depends on them: a disk that refuses is told, no more.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from trainer.batch_records import Run
from trainer.durable_files import delete_directory, remove_leftovers, write_directory
from trainer.errors import RefusedBatchError
from trainer.step_outcome import RefusedStep

MAX_COUNT = 20
MAX_BYTES = 64 << 20
_ARRAYS, _HEADER = "batch.safetensors", "batch.json"

logger = logging.getLogger(__name__)


class RefusedBatch(msgspec.Struct, frozen=True):
    """What is known of one of them, beside its arrays."""

    name: str
    """Of its directory, `STEP-PART`."""
    part: str
    step: int
    reason: str
    runs: list[Run]
    """The records of the micro-batch; rows of batches before it may have been replayed beside them."""


class RefusedBatches:
    """The kept batches of one state.

    Args:
        directory: where they lie; made when the first is kept.
        max_count: how many are kept.
        max_bytes: how large they may be together; the newest is kept whatever its size up to this.
    """

    def __init__(self, directory: Path, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_count = max_count
        self._max_bytes = max_bytes

    def keep(self, refused: RefusedStep, runs: Sequence[Run]) -> None:
        """Write one down, say so, and let the oldest go."""
        name = f"{refused.step:012d}-{refused.part}"
        header = RefusedBatch(name, refused.part, refused.step, refused.reason, list(runs))
        arrays = {key: np.ascontiguousarray(array) for key, array in refused.batch.items()}
        files = {_ARRAYS: save(arrays), _HEADER: msgspec.json.encode(header)}
        size = sum(map(len, files.values()))
        target = self._directory / name
        kept = f"kept in {target}"
        try:
            remove_leftovers(self._directory)
            if size > self._max_bytes:
                kept = f"its {size:,} bytes are too many to keep"
            else:
                delete_directory(target)
                write_directory(target, files)
            self._drop_oldest()
        except OSError as error:
            kept = f"not kept: {error}"
        places = ", ".join(f"{run.name} {run.first}..{run.end}" for run in runs)
        logger.error(
            "step %d of the %s is not taken: %s; %s (%s)", refused.step, refused.part, refused.reason, kept, places
        )

    def names(self) -> list[str]:
        """List them, oldest first: by when they were written, as steps begin anew with a new model."""
        if not self._directory.is_dir():
            return []
        kept = [path for path in self._directory.iterdir() if not path.name.startswith(".")]
        return [path.name for path in sorted(kept, key=lambda path: (_written_ns(path), path.name))]

    def status(self) -> dict[str, Any]:
        """Return what the status file tells."""
        try:
            names = self.names()
        except OSError:  # Told when the next one is kept; a status file must not end the trainer.
            names = []
        return {"kept": len(names), "newest": names[-1] if names else ""}

    def read(self, name: str) -> tuple[RefusedBatch, dict[str, NDArray[Any]]]:
        """Return one of them with its arrays.

        Raises:
            RefusedBatchError: there is none of that name, or it cannot be read.
        """
        if name not in self.names():
            raise RefusedBatchError(f"there is no refused batch {name!r:.80} in {self._directory}")
        try:
            header = msgspec.json.decode((self._directory / name / _HEADER).read_bytes(), type=RefusedBatch)
            return header, load_file(self._directory / name / _ARRAYS)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, SafetensorError) as error:
            raise RefusedBatchError(f"{self._directory / name} cannot be read: {error}") from error

    def _drop_oldest(self) -> None:
        names = self.names()
        sizes = [sum(file.stat().st_size for file in (self._directory / name).iterdir()) for name in names]
        while len(names) > self._max_count or sum(sizes) > self._max_bytes:
            shutil.rmtree(self._directory / names.pop(0))
            sizes.pop(0)


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # The trainer let it go just now.
        return 0


def summary_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]]:
    """Return shape, type, extremes and the number of values that are not finite, by array."""
    found = {}
    for name, array in arrays.items():
        numbers = array.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        found[name] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "min": float(finite.min()) if finite.size else None,
            "max": float(finite.max()) if finite.size else None,
            "not_finite": int(numbers.size - finite.size),
        }
    return found
