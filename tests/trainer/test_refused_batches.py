"""Batches that were not learnt are kept whole, a few of them, and never stand in the way."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from features.config import AppConfig
from tests.trainer.test_restart import Life
from trainer.batch_records import Run
from trainer.errors import RefusedBatchError
from trainer.refused_batches import RefusedBatches, summary_of
from trainer.status import StatusFile
from trainer.step_outcome import RefusedStep

_RUNS = [Run("headrace.samples.v1:0", 3, 9, 6, 1)]


def refused(step: int, size: int = 4) -> RefusedStep:
    """A step of the ranker that ran away."""
    inputs = np.full((size, 2), 1.5, dtype=np.float32)
    inputs[0, 0] = np.nan
    return RefusedStep("ranker", step, "the loss is nan", {"inputs": inputs, "is_served": np.ones(size, dtype=bool)})


def test_batch_is_read_as_it_was_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Header and arrays; one line in the log with step, reason and offsets."""
    batches = RefusedBatches(tmp_path / "refused")
    with caplog.at_level(logging.ERROR):
        batches.keep(refused(7), _RUNS)
    header, arrays = batches.read("000000000007-ranker")
    assert (header.step, header.reason, header.runs) == (7, "the loss is nan", _RUNS)
    assert summary_of(arrays)["inputs"] == {
        "shape": [4, 2], "dtype": "float32", "min": 1.5, "max": 1.5, "not_finite": 1
    }  # fmt: skip
    [message] = [record.getMessage() for record in caplog.records]
    assert all(word in message for word in ("000000000007-ranker", "the loss is nan", "headrace.samples.v1:0 3..9"))


def test_oldest_go_by_number_and_by_size(tmp_path: Path) -> None:
    """Three at most, and 6,000 bytes at most: what is too large alone is told, not kept."""
    batches = RefusedBatches(tmp_path, max_count=3, max_bytes=6000)
    for step in range(1, 6):
        batches.keep(refused(step), _RUNS)
    assert [name[:12] for name in batches.names()] == ["000000000003", "000000000004", "000000000005"]
    batches.keep(refused(6, size=580), _RUNS)
    assert [name[:12] for name in batches.names()][-1] == "000000000006"
    assert len(batches.names()) == 2
    batches.keep(refused(7, size=5000), _RUNS)
    assert [name[:12] for name in batches.names()][-1] == "000000000006"


def test_newest_stays_when_steps_begin_anew(tmp_path: Path) -> None:
    """After a changed configuration step 5 is newer than step 1001 of the life before."""
    batches = RefusedBatches(tmp_path, max_count=2)
    for written, step in enumerate((1000, 1001, 5)):
        batches.keep(refused(step), _RUNS)
        name = f"{step:012d}-ranker"
        os.utime(tmp_path / name, ns=(written, written))
    assert batches.names() == ["000000001001-ranker", "000000000005-ranker"]
    assert batches.status()["newest"] == "000000000005-ranker"


def test_repeated_batch_is_written_again_not_twice(tmp_path: Path) -> None:
    """A restart repeats the step."""
    batches = RefusedBatches(tmp_path)
    batches.keep(refused(2), _RUNS)
    batches.keep(refused(2), _RUNS)
    assert batches.status() == {"kept": 1, "newest": "000000000002-ranker"}


def test_disk_that_refuses_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line in the log says that nothing is kept."""

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.refused_batches.write_directory", refuse)
    RefusedBatches(tmp_path).keep(refused(1), _RUNS)
    assert "not kept: " in caplog.text


def test_unknown_name_is_one_sentence(tmp_path: Path) -> None:
    """Also one that would lead out of the directory."""
    with pytest.raises(RefusedBatchError, match="no refused batch"):
        RefusedBatches(tmp_path).read("../checkpoints")


def test_live_trainer_keeps_the_batch_with_its_offsets(app: AppConfig, tmp_path: Path) -> None:
    """`trainer.json` and `trainer.prom` count it."""
    life = Life(app, tmp_path)
    trainer = life.start()
    trainer.take_turn()
    life.learner.model.ranker.skip_scale.data.fill_(np.inf)
    with np.errstate(all="ignore"):
        while not (kept := life.startup.refused_batches.names()) and not life.log.is_empty:
            trainer.take_turn()
    header, arrays = life.startup.refused_batches.read(kept[0])
    assert header.runs[0].name.startswith("headrace.samples.v1:")
    assert len(arrays["inputs"]) == len(arrays["labels"]) > 0
    status = StatusFile(tmp_path / "trainer.json", life.startup.refused_batches)
    status.write_when_due(life.startup.machine, trainer._publisher, trainer._batch_log, trainer._log, trainer._report)
    assert life.status()["refused_batches"] == {"kept": len(kept), "newest": kept[-1]}
    assert life.status()["drift"]["wants_fresh_model"] is False
    exposition = (tmp_path / "trainer.prom").read_text()
    assert "headrace_trainer_non_finite_steps_total 1" in exposition
    assert 'headrace_trainer_metric{name="hr@10",slice="user=new"}' in exposition
    trainer.close()
