"""The id memory on disk, so that a restart does not find every user new: one safetensors file, replaced by a rename."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from features.quality.window_counts import IdMemory
from features.whole_file import replace_file

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryMark:
    """Where the log stands that a memory knows."""

    window_end_ms: int
    """The last window in it ends here."""
    offsets: dict[str, int]
    """`topic:partition` -> next offset."""


class MemoryFile:
    """Keeps one id memory.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, memory: IdMemory, window_end_ms: int, offsets: Mapping[str, int]) -> None:
        """Write the memory; a full disk is logged and costs only a longer restart."""
        arrays = {
            f"{name}.{part}": array for name, kept in memory.filters.items() for part, array in kept.arrays().items()
        }
        mark = msgspec.json.encode({"window_end_ms": window_end_ms, "offsets": dict(offsets)})
        arrays["mark"] = np.frombuffer(mark, dtype=np.uint8)
        try:
            replace_file(self._path, save(arrays))
        except (OSError, SafetensorError) as error:
            _log.warning("cannot keep the id memory in %s: %s", self._path, error)

    def read(self, memory: IdMemory) -> MemoryMark | None:
        """Fill the memory; None, and an untouched memory, where there is no file that fits."""
        try:
            arrays = load_file(self._path)
            mark = msgspec.json.decode(arrays.pop("mark").tobytes(), type=MemoryMark)
            parts = {
                name: {part: arrays[f"{name}.{part}"] for part in ("newer", "older", "numbers")}
                for name in memory.filters
            }
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
            _log.warning("the id memory in %s cannot be used (%s); reading ids anew from the log", self._path, error)
            return None
        if not all(kept.fits(parts[name]) for name, kept in memory.filters.items()):
            _log.warning("the id memory in %s has another size; reading ids anew from the log", self._path)
            return None
        for name, kept in memory.filters.items():
            kept.restore(parts[name])
        return mark
