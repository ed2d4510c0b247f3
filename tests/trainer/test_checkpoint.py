"""A checkpoint is the whole trainer: what resumes from it learns as if it had never stopped."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.config import AppConfig
from tests.trainer.conftest import sample_stream
from trainer.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from trainer.config import LearnerConfig
from trainer.errors import CheckpointError, CheckpointFormatError
from trainer.online_learner import OnlineLearner
from trainer.samples import Sample

NAMES = ["arrays.safetensors", "names.json", "checkpoint.json", "checkpoint.sha256"]
CUTS = [7, 10, 3, 16, 1, 12, 11, 9, 20, 10]


def _learn(learner: OnlineLearner, samples: list[Sample], cuts: list[int], start: int = 0) -> None:
    for cut in cuts:
        learner.learn_batch(samples[start : start + cut])
        start += cut


def _checkpoint(learner: OnlineLearner, offset: int = 0) -> Checkpoint:
    return Checkpoint(learner.state(), {"samples:0": offset}, "hash", "1.4")


def test_resumed_run_is_bit_identical_to_the_uninterrupted_one(
    app: AppConfig, config: LearnerConfig, tmp_path: Path
) -> None:
    """Stop midway, resume from the files, and every array and string is the same as without the stop."""
    whole, first = OnlineLearner(app, config), OnlineLearner(app, config)
    samples = sample_stream(whole, 90)
    _learn(whole, samples, CUTS)
    _learn(first, samples, CUTS[:5])
    store = CheckpointStore(tmp_path, keep=3)
    store.write(_checkpoint(first))
    resumed, checkpoint = OnlineLearner(app, config), store.read_newest()
    assert checkpoint is not None
    resumed.restore(checkpoint.state)
    _learn(resumed, samples, CUTS[5:], start=sum(CUTS[:5]))
    expected, actual = whole.state(), resumed.state()
    assert actual.names == expected.names
    assert actual.progress == expected.progress
    different = [name for name, array in expected.arrays.items() if array.tobytes() != actual.arrays[name].tobytes()]
    assert different == []


def test_checkpoint_says_where_to_read_on(learner: OnlineLearner, tmp_path: Path) -> None:
    """Offsets and the last version come back."""
    store = CheckpointStore(tmp_path, keep=3)
    store.write(_checkpoint(learner, offset=42))
    checkpoint = store.read_newest()
    assert checkpoint is not None
    assert (checkpoint.offsets, checkpoint.last_version) == ({"samples:0": 42}, "1.4")


@pytest.mark.parametrize("name", NAMES)
def test_bad_newest_falls_back_to_the_one_before(learner: OnlineLearner, tmp_path: Path, name: str) -> None:
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


@pytest.mark.parametrize("name", NAMES)
def test_truncated_anywhere_is_refused(learner: OnlineLearner, tmp_path: Path, name: str) -> None:
    """40 lengths of every file, none at all included: never taken for a checkpoint."""
    path = CheckpointStore(tmp_path, keep=3).write(_checkpoint(learner)) / name
    data = path.read_bytes()
    for part in range(40):
        path.write_bytes(data[: len(data) * part // 40])
        with pytest.raises(CheckpointError):
            read_checkpoint(path.parent)
    path.unlink()
    with pytest.raises(CheckpointError):
        read_checkpoint(path.parent)


@pytest.mark.parametrize("name", NAMES)
def test_any_flipped_bit_is_refused(learner: OnlineLearner, tmp_path: Path, name: str) -> None:
    """100 seeded flips of one bit in every file: each is noticed, none is taken for another version of this code."""
    path = CheckpointStore(tmp_path, keep=3).write(_checkpoint(learner, offset=7)) / name
    good, random_ = path.read_bytes(), random.Random(5)
    for _ in range(100):
        data = bytearray(good)
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path.parent)
        assert not isinstance(caught.value, CheckpointFormatError)


def test_bad_ones_do_not_push_good_ones_out(learner: OnlineLearner, tmp_path: Path) -> None:
    """What was refused is kept to be looked at and counts for nothing."""
    store = CheckpointStore(tmp_path, keep=2)
    written = [store.write(_checkpoint(learner, offset)) for offset in range(2)]
    (written[1] / "names.json").unlink()
    assert (checkpoint := store.read_newest()) is not None
    assert checkpoint.offsets == {"samples:0": 0}
    store.write(_checkpoint(learner, offset=2))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000000000001", "000000000003", "bad-000000000002"]
    assert "000000000002" in store.refused[0]


def test_another_format_is_no_damage(learner: OnlineLearner, tmp_path: Path) -> None:
    """A checkpoint of the first format, which had no digest of its own, is told apart from a bad one."""
    directory = CheckpointStore(tmp_path, keep=2).write(_checkpoint(learner))
    (directory / "checkpoint.sha256").unlink()
    (directory / "checkpoint.json").write_bytes(b'{"format":1,"offsets":{}}')
    with pytest.raises(CheckpointFormatError, match="format 1"):
        CheckpointStore(tmp_path, keep=2).read_newest()


def test_oldest_checkpoint_says_what_the_batch_log_must_keep(learner: OnlineLearner, tmp_path: Path) -> None:
    """The place of the oldest one kept; all of the log where it cannot be told."""
    store = CheckpointStore(tmp_path, keep=2)
    written = [store.write(replace(_checkpoint(learner), position=position)) for position in (5, 9, 14)]
    assert store.oldest_position() == 9
    (written[1] / "checkpoint.json").write_bytes(b"{}")
    assert store.oldest_position() == 0


def test_all_bad_is_said_and_not_taken_for_a_first_start(learner: OnlineLearner, tmp_path: Path) -> None:
    """Losing every checkpoint must not silently start from nothing."""
    store = CheckpointStore(tmp_path, keep=3)
    (store.write(_checkpoint(learner)) / "names.json").unlink()
    with pytest.raises(CheckpointError, match="move the directory away"):
        store.read_newest()


def test_only_the_newest_are_kept(learner: OnlineLearner, tmp_path: Path) -> None:
    """Old checkpoints and leftovers of a killed writer go."""
    (tmp_path / ".000000000009.1.tmp").mkdir()
    store = CheckpointStore(tmp_path, keep=2)
    for offset in range(4):
        store.write(_checkpoint(learner, offset))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000003", "000000000004"]


def test_no_checkpoint_means_a_first_start(tmp_path: Path) -> None:
    """An empty directory is a legal start."""
    assert CheckpointStore(tmp_path / "none", keep=2).read_newest() is None


def test_state_is_a_copy(learner: OnlineLearner) -> None:
    """Learning on does not change a state that was taken: it is written by another thread meanwhile."""
    samples = sample_stream(learner, 200)
    _learn(learner, samples, [10] * 10)
    state = learner.state()
    before = {name: array.copy() for name, array in state.arrays.items()}
    _learn(learner, samples, [10] * 10, start=100)
    assert all(np.array_equal(state.arrays[name], array) for name, array in before.items())
