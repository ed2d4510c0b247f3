"""A disk that refuses: learning goes on, nothing becomes visible that is not written down, and the status says so."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults.kill_stream import APP
from tests.faults.killed_trainer import run_in_process
from tests.trainer.test_restart import Life
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.config import LearnerConfig
from trainer.durable_files import write_directory
from trainer.online_learner import OnlineLearner
from trainer.trainer import Trainer


def refuse(*_arguments: Any, **_named: Any) -> Any:
    """A disk without room."""
    raise OSError(errno.ENOSPC, "No space left on device")


def turns(trainer: Trainer, number: int) -> None:
    """Let a trainer take turns."""
    for _ in range(number):
        trainer.take_turn()


def test_full_disk_keeps_the_last_good_checkpoint_and_is_told(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint and no version while it is full; the trainer learns on; afterwards all is as if nothing was."""
    trainer = life.start()
    turns(trainer, 3)
    trainer.checkpoint()
    with monkeypatch.context() as full:
        full.setattr("trainer.durable_files._write_file", refuse)
        full.setattr("trainer.batch_log.os.write", refuse)
        turns(trainer, 3)
        learnt = life.learner.progress.samples
        trainer.publish()
        trainer.checkpoint()
        assert life.places.store.versions() == []
        assert [path.name for path in life.places.checkpoints.iterdir()] == ["000000000001"]
    trainer._status._written_s = 0.0
    turns(trainer, 1)
    checkpoints = life.status()["checkpoints"]
    assert (checkpoints["failed"], "No space left" in checkpoints["error"]) == (1, True)
    assert "No space left" in life.status()["batch_log"]["write_error"] or learnt < life.learner.progress.samples
    trainer.checkpoint()
    trainer.close()
    before = life.digest()
    life.start()
    assert life.digest() == before == life.uninterrupted()


def test_version_waits_for_the_batch_log(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the log's fsync fails, the store would take the version: not visible, and tried again without news."""
    trainer = life.start()
    turns(trainer, 40)
    monkeypatch.setattr("trainer.batch_log.fsync_directory", refuse)
    trainer.publish()
    trainer._publisher.wait(10)
    assert life.places.store.versions() == []
    monkeypatch.undo()
    trainer._published_s = float("-inf")
    turns(trainer, 1)
    trainer._publisher.wait(10)
    assert [str(version) for version in life.places.store.versions()] == ["1.1"]
    trainer.close()


def test_killed_on_a_full_disk_goes_on_from_the_last_good(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that could not be written down are cut anew: nothing outside knew of them, no sample is learnt twice."""
    trainer = life.start()
    turns(trainer, 2)
    trainer.checkpoint()
    with monkeypatch.context() as full:
        full.setattr("trainer.batch_log.os.write", refuse)
        turns(trainer, 4)
        trainer.close()
    trainer = life.start()
    turns(trainer, 40)
    trainer.close()
    assert life.learner.progress.samples == len(life.records)
    assert life.digest() == life.uninterrupted()


def test_file_size_limit_of_the_kernel_leaves_the_one_before(tmp_path: Path) -> None:
    """A real refusal in the middle of a file, in a process of its own: RLIMIT_FSIZE in place of a full disk."""
    os.waitpid(run_in_process(lambda: _write_past_the_limit(tmp_path)), 0)
    assert json.loads((tmp_path / "said").read_text()) == errno.EFBIG
    store = CheckpointStore(tmp_path / "checkpoints", keep=3)
    checkpoint = store.read_newest()
    assert checkpoint is not None
    assert (checkpoint.offsets, store.refused) == ({"samples:0": 1}, [])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000000001"]


def _write_past_the_limit(folder: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    state = OnlineLearner(APP, LearnerConfig(embedding_dim=8)).state()
    store = CheckpointStore(folder / "checkpoints", keep=3)
    store.write(Checkpoint(state, {"samples:0": 1}, "hash", ""))
    state.arrays["big"] = np.zeros(1_000_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    try:
        store.write(Checkpoint(state, {"samples:0": 2}, "hash", ""))
    except OSError as error:
        (folder / "said").write_text(json.dumps(error.errno))


def test_directory_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the target nor a temporary one stays."""
    real = os.fsync
    calls = iter([real, refuse])
    monkeypatch.setattr("trainer.durable_files.os.fsync", lambda descriptor: next(calls)(descriptor))
    with pytest.raises(OSError, match="No space left"):
        write_directory(tmp_path / "new", {"a": b"1", "b": b"2"})
    assert list(tmp_path.iterdir()) == []
