"""The id memory on disk: read back whole, refused where it is torn or of another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.quality.config import QualityConfig
from features.quality.memory_file import MemoryFile
from features.quality.window_counts import IdMemory
from tests.features.quality.quality_world import ids_of


def filled(config: QualityConfig) -> IdMemory:
    """A memory that knows a thousand users."""
    memory = IdMemory(config, 24.0)
    memory.filters["users"].add(ids_of(np.arange(1000), 1), 5)
    return memory


def test_memory_comes_back_with_its_place_in_the_log(config: QualityConfig, tmp_path: Path) -> None:
    """Same ids, same offsets, same end."""
    file = MemoryFile(tmp_path / "memory.safetensors")
    file.write(filled(config), 120_000, {"t:0": 7})
    memory = IdMemory(config, 24.0)
    mark = file.read(memory)
    assert mark is not None
    assert (mark.window_end_ms, mark.offsets) == (120_000, {"t:0": 7})
    assert memory.filters["users"].contains(ids_of(np.arange(1000), 1)).all()


def test_what_does_not_fit_leaves_the_memory_empty(config: QualityConfig, tmp_path: Path) -> None:
    """A missing, torn or differently sized file is no memory."""
    path = tmp_path / "memory.safetensors"
    file, memory = MemoryFile(path), IdMemory(config, 24.0)
    assert file.read(memory) is None
    file.write(filled(config), 1, {})
    assert file.read(IdMemory(config.model_copy(update={"id_memory_mb": 2}), 24.0)) is None
    path.write_bytes(path.read_bytes()[:1000])
    assert file.read(memory) is None
    assert not memory.filters["users"].contains(ids_of(np.arange(1000), 1)).any()
