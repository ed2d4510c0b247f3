"""Plans and checkpoints in the state directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.config import load_app_config
from streams.config import StreamsConfig
from streams.errors import RestoreRefusedError
from streams.job import SqlJob
from streams.job_files import JobFiles, write_whole
from streams.jobs.feature_job import feature_job
from tests.running_stack import ROOT


def _job(bootstrap: str = "127.0.0.1:9092", **settings: int) -> SqlJob:
    return feature_job(load_app_config(ROOT / "headrace.yaml"), StreamsConfig(**settings), bootstrap)


def _checkpoint(files: JobFiles, name: str, second: int, is_complete: bool = True) -> Path:
    folder = files.checkpoints / name
    folder.mkdir(parents=True)
    if is_complete:
        (folder / "_metadata").touch()
        os.utime(folder / "_metadata", (second, second))
    return folder


def test_the_newest_completed_checkpoint_counts(tmp_path: Path) -> None:
    """Across submissions, by time and not by number; one without metadata was never completed."""
    files = JobFiles(tmp_path, "feature_job")
    _checkpoint(files, "aaa/chk-90", 1)
    newest = _checkpoint(files, "bbb/chk-7", 2)
    _checkpoint(files, "bbb/chk-8", 3, is_complete=False)
    assert files.newest_checkpoint() == newest


def test_a_first_start_has_nothing_to_restore(tmp_path: Path) -> None:
    """`--restore` is safe to give always."""
    assert JobFiles(tmp_path, "feature_job").restore_point(_job()) is None


def test_a_checkpoint_of_another_plan_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """The same statements are accepted."""
    files = JobFiles(tmp_path, "feature_job")
    checkpoint = _checkpoint(files, "aaa/chk-1", 1)
    with pytest.raises(RestoreRefusedError, match="without --restore"):
        files.restore_point(_job())
    write_whole(files.plan(_job().fingerprint()), "{}")
    assert files.restore_point(_job()) == checkpoint


def test_a_job_is_the_same_job_at_other_addresses() -> None:
    """Ports change from start to start; they must not cost the state."""
    assert _job("127.0.0.1:1").fingerprint() == _job("10.0.0.1:9092", linger_ms=50).fingerprint()


def test_another_configuration_is_another_job() -> None:
    """Half-lives, actions and the like stand in the statements."""
    app = load_app_config(ROOT / "headrace.yaml")
    other = app.model_copy(update={"features": app.features.model_copy(update={"history_length": 7})})
    assert feature_job(other, StreamsConfig(), "").fingerprint() != _job().fingerprint()
