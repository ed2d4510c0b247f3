"""Plans, checkpoints and savepoints in the state directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.config import AppConfig, load_app_config
from features.label_config import load_labels
from features.whole_file import replace_file
from streams import job_files
from streams.config import StreamsConfig
from streams.errors import RestoreRefusedError
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.jobs.feature_job import feature_job
from streams.jobs.sample_job import sample_job
from tests.features.declared import DECLARED
from tests.running_stack import ROOT


def _app() -> AppConfig:
    return load_app_config(ROOT / "headrace.yaml")


def _job(bootstrap: str = "127.0.0.1:9092", **settings: int) -> SqlJob:
    return feature_job(_app(), StreamsConfig(**settings), bootstrap)


def _point(folder: Path, name: str, second: int, is_complete: bool = True) -> Path:
    point = folder / name
    point.mkdir(parents=True)
    if is_complete:
        (point / "_metadata").touch()
        os.utime(point / "_metadata", (second, second))
    return point


def test_points_of_every_plan_come_newest_first(tmp_path: Path) -> None:
    """By time and not by number, savepoints too; without metadata, or without the compiled plan, it is none."""
    files = JobFiles(tmp_path, "feature_job")
    old = _point(files.checkpoints("p1"), "aaa/chk-90", 1)
    saved = _point(files.savepoints("p2"), "savepoint-1", 2)
    new = _point(files.checkpoints("p2"), "bbb/chk-7", 3)
    _point(files.checkpoints("p2"), "bbb/chk-8", 4, is_complete=False)
    _point(files.checkpoints("p3"), "ccc/chk-1", 5)
    for plan in ("p1", "p2"):
        replace_file(files.plan(plan), b"{}")
    assert [(point.path, point.plan) for point in files.points()] == [(new, "p2"), (saved, "p2"), (old, "p1")]


def test_a_checkpoint_that_vanishes_while_it_is_looked_at_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flink takes old ones away while the job runs; whoever goes on from one is told then."""
    files = JobFiles(tmp_path, "feature_job")
    old = _point(files.checkpoints("p1"), "aaa/chk-1", 1)
    new = _point(files.checkpoints("p1"), "aaa/chk-2", 2)
    replace_file(files.plan("p1"), b"{}")
    real = job_files._written_ns

    def written_ns(path: Path) -> int:
        written = real(path)
        if path.parent == old:
            path.unlink()
        return written

    monkeypatch.setattr(job_files, "_written_ns", written_ns)
    assert files.points()[0].path == new


def test_a_named_point_says_which_plan_it_is_of(tmp_path: Path) -> None:
    """Outside of the state directory nobody knows; another job's is refused, and so is what is no point at all."""
    files, other = JobFiles(tmp_path / "flink", "feature_job"), JobFiles(tmp_path / "flink", "sample_job")
    assert files.point_at(_point(files.checkpoints("p1"), "aaa/chk-1", 1)).plan == "p1"
    assert files.point_at(_point(tmp_path / "moved", "savepoint-1", 1)).plan == ""
    with pytest.raises(RestoreRefusedError, match="is of the sample_job"):
        files.point_at(_point(other.savepoints("p1"), "savepoint-1", 1))
    with pytest.raises(RestoreRefusedError, match="holds no _metadata"):
        files.point_at(tmp_path)


def test_a_running_job_names_its_plan(tmp_path: Path) -> None:
    """By the folder that Flink makes for it."""
    files = JobFiles(tmp_path, "feature_job")
    (files.checkpoints("p1") / "job1").mkdir(parents=True)
    assert (files.plan_of("job1"), files.plan_of("job2")) == ("p1", "")


def test_a_kept_job_is_the_same_job_at_todays_addresses(tmp_path: Path) -> None:
    """It comes back with Kafka where it is now; without its compiled plan it is worth nothing."""
    files, job = JobFiles(tmp_path, "feature_job"), _job("127.0.0.1:1")
    files.keep(job, "127.0.0.1:1")
    with pytest.raises(RestoreRefusedError, match="nothing is kept"):
        files.kept(job.plan_name, "127.0.0.1:2")
    replace_file(files.plan(job.plan_name), b"{}")
    kept = files.kept(job.plan_name, "127.0.0.1:2")
    assert kept.tables == list(_job("127.0.0.1:2").tables)
    assert (kept.plan_name, kept.state_rules) == (job.plan_name, list(job.state_rules))


def test_a_job_is_the_same_job_at_other_addresses() -> None:
    """Ports change from start to start; they must not cost the state."""
    assert _job("127.0.0.1:1").fingerprint() == _job("10.0.0.1:9092", linger_ms=50).fingerprint()


def test_another_configuration_is_another_job() -> None:
    """Half-lives, actions and the like stand in the statements."""
    app = _app()
    other = app.model_copy(update={"features": app.features.model_copy(update={"history_length": 7})})
    assert feature_job(other, StreamsConfig(), "").fingerprint() != _job().fingerprint()


def test_the_order_of_actions_and_features_in_the_file_means_nothing() -> None:
    """Moving a line of the configuration must not cost the state."""
    app = _app()
    app = app.model_copy(update={"features": app.features.model_copy(update={"declared": DECLARED})})
    moved = app.model_copy(
        update={
            "actions": dict(reversed(app.actions.items())),
            "features": app.features.model_copy(update={"declared": dict(reversed(DECLARED.items()))}),
        }
    )
    plans = []
    for one in (app, moved):
        labels = load_labels(ROOT / "headrace.yaml", one)
        jobs = (feature_job(one, StreamsConfig(), ""), sample_job(one, labels, StreamsConfig(), ""))
        plans.append([job.plan_name for job in jobs])
    assert plans[0] == plans[1]
