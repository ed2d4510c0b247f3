"""A checkpoint is the whole trainer: what resumes from it learns as if it had never stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.config import AppConfig
from tests.trainer.conftest import sample_stream
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import LearnerConfig
from trainer.errors import CheckpointError
from trainer.learner import Learner
from trainer.samples import Sample

CUTS = [7, 10, 3, 16, 1, 12, 11, 9, 20, 10]


def _learn(learner: Learner, samples: list[Sample], cuts: list[int], start: int = 0) -> None:
    for cut in cuts:
        learner.learn_batch(samples[start : start + cut])
        start += cut


def _checkpoint(learner: Learner, offset: int = 0) -> Checkpoint:
    return Checkpoint(learner.state(), {"samples:0": offset}, "hash", "1.4")


def test_resumed_run_is_bit_identical_to_the_uninterrupted_one(
    app: AppConfig, config: LearnerConfig, tmp_path: Path
) -> None:
    """Stop midway, resume from the files, and every array and string is the same as without the stop."""
    whole, first = Learner(app, config), Learner(app, config)
    samples = sample_stream(whole, 90)
    _learn(whole, samples, CUTS)
    _learn(first, samples, CUTS[:5])
    store = CheckpointStore(tmp_path, keep=3)
    store.write(_checkpoint(first))
    resumed, checkpoint = Learner(app, config), store.read_newest()
    assert checkpoint is not None
    resumed.restore(checkpoint.state)
    _learn(resumed, samples, CUTS[5:], start=sum(CUTS[:5]))
    expected, actual = whole.state(), resumed.state()
    assert actual.names == expected.names
    assert actual.progress == expected.progress
    different = [name for name, array in expected.arrays.items() if array.tobytes() != actual.arrays[name].tobytes()]
    assert different == []


def test_checkpoint_says_where_to_read_on(learner: Learner, tmp_path: Path) -> None:
    """Offsets and the last version come back."""
    store = CheckpointStore(tmp_path, keep=3)
    store.write(_checkpoint(learner, offset=42))
    checkpoint = store.read_newest()
    assert checkpoint is not None
    assert (checkpoint.offsets, checkpoint.last_version) == ({"samples:0": 42}, "1.4")


@pytest.mark.parametrize("name", ["arrays.safetensors", "names.json", "checkpoint.json"])
def test_bad_newest_falls_back_to_the_one_before(learner: Learner, tmp_path: Path, name: str) -> None:
    """A flipped byte in any file of the newest checkpoint makes the one before count."""
    store = CheckpointStore(tmp_path, keep=3)
    store.write(_checkpoint(learner, offset=1))
    newest = store.write(_checkpoint(learner, offset=2))
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (newest / name).write_bytes(data)
    checkpoint = store.read_newest()
    assert checkpoint is not None
    assert checkpoint.offsets == {"samples:0": 1}


def test_all_bad_is_said_and_not_taken_for_a_first_start(learner: Learner, tmp_path: Path) -> None:
    """Losing every checkpoint must not silently start from nothing."""
    store = CheckpointStore(tmp_path, keep=3)
    (store.write(_checkpoint(learner)) / "names.json").unlink()
    with pytest.raises(CheckpointError, match="move the directory away"):
        store.read_newest()


def test_only_the_newest_are_kept(learner: Learner, tmp_path: Path) -> None:
    """Old checkpoints and leftovers of a killed writer go."""
    (tmp_path / ".000000000009.1.tmp").mkdir()
    store = CheckpointStore(tmp_path, keep=2)
    for offset in range(4):
        store.write(_checkpoint(learner, offset))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000003", "000000000004"]


def test_no_checkpoint_means_a_first_start(tmp_path: Path) -> None:
    """An empty directory is a legal start."""
    assert CheckpointStore(tmp_path / "none", keep=2).read_newest() is None


def test_state_is_a_copy(learner: Learner) -> None:
    """Learning on does not change a state that was taken: it is written by another thread meanwhile."""
    samples = sample_stream(learner, 200)
    _learn(learner, samples, [10] * 10)
    state = learner.state()
    before = {name: array.copy() for name, array in state.arrays.items()}
    _learn(learner, samples, [10] * 10, start=100)
    assert all(np.array_equal(state.arrays[name], array) for name, array in before.items())
