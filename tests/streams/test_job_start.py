"""What a job starts from, and what happens where Flink refuses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.config import load_app_config
from features.whole_file import replace_file
from streams.config import StreamsConfig
from streams.errors import HistoryLostError, RestoreRefusedError
from streams.input_history import InputHistory
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.job_start import ChangedJobs, JobStart, bring_up, choose_start
from streams.jobs.feature_job import feature_job
from tests.running_stack import ROOT

COMPLETE = InputHistory(has_output=True)
LOST = InputHistory({"headrace.events.v1": 7}, 1_700_000_000_000, has_output=True)


def _job(history_length: int = 50) -> SqlJob:
    app = load_app_config(ROOT / "headrace.yaml")
    features = app.features.model_copy(update={"history_length": history_length})
    return feature_job(app.model_copy(update={"features": features}), StreamsConfig(), "k:1")


def _ran(files: JobFiles, job: SqlJob, second: int) -> Path:
    """Leave behind what a job leaves that ran until `second`."""
    point = files.checkpoints(job.plan_name) / f"id{second}" / "chk-1"
    point.mkdir(parents=True)
    (point / "_metadata").touch()
    os.utime(point / "_metadata", (second, second))
    replace_file(files.plan(job.plan_name), b"{}")
    files.keep(job, "k:1")
    return point


def _choose(files: JobFiles, history: InputHistory, changed: ChangedJobs = "replay") -> JobStart:
    return choose_start(_job(), files, "k:1", changed, history)


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    """What the feature job left: nothing yet."""
    return JobFiles(tmp_path, "feature_job")


def test_a_first_start_begins_with_what_kafka_has(files: JobFiles) -> None:
    """Also on a Kafka that is older than Headrace: nothing was counted yet, so nothing is lost."""
    assert _choose(files, InputHistory({"headrace.events.v1": 7})) == JobStart(_job())


def test_the_same_plan_goes_on_from_its_newest_checkpoint(files: JobFiles) -> None:
    """Older ones follow; the first record only where Kafka still has it."""
    points = (_ran(files, _job(), 2), _ran(files, _job(), 1))
    assert _choose(files, COMPLETE) == JobStart(_job(), points)
    start = _choose(files, LOST)
    assert start.points == points
    assert "the first 7 records of headrace.events.v1 (what came before 2023-11-14" in start.why_not_empty


def test_another_plan_is_replayed_only_where_kafka_has_it_all(files: JobFiles) -> None:
    """Else nothing starts, and one sentence says what is gone and how to go on."""
    _ran(files, _job(7), 1)
    assert _choose(files, COMPLETE) == JobStart(_job())
    with pytest.raises(HistoryLostError) as refusal:
        _choose(files, LOST)
    for said in ("the first 7 records", "up --changed-jobs keep", "up --changed-jobs rebuild", "streams upgrade"):
        assert said in str(refusal.value)


def test_checkpoints_of_an_earlier_life_of_the_same_plan_are_not_gone_back_to(files: JobFiles) -> None:
    """Another plan ran since: what retention took meanwhile would be missing in silence."""
    _ran(files, _job(), 1)
    _ran(files, _job(7), 2)
    assert _choose(files, COMPLETE) == JobStart(_job())


def test_a_changed_job_can_be_kept_or_rebuilt(files: JobFiles) -> None:
    """By order only: as it was from its checkpoints, or anew from what is left."""
    points = (_ran(files, _job(7), 1),)
    kept = _choose(files, LOST, "keep")
    assert (kept.job.plan_name, kept.points) == (_job(7).plan_name, points)
    assert kept.why_not_empty
    assert _choose(files, LOST, "rebuild") == JobStart(_job())


def test_checkpoints_that_vanished_are_not_taken_for_a_first_start(files: JobFiles) -> None:
    """The job has written rows before."""
    with pytest.raises(HistoryLostError, match="checkpoints are gone"):
        _choose(files, LOST)


class _Cluster:
    """Takes jobs; refuses the points of `refused` when they are submitted, those of `damaged` when they run."""

    def __init__(self, refused: tuple[Path, ...] = (), damaged: tuple[Path, ...] = ()) -> None:
        self.tried: list[Path | None] = []
        self._refused, self._damaged = refused, damaged

    def submit(self, job: SqlJob, point: Path | None) -> str:
        """Take it."""
        self.tried.append(point)
        if point in self._refused:
            raise RestoreRefusedError("does not fit")
        return f"id{len(self.tried)}"

    def wait_running(self, job: SqlJob, job_id: str, point: Path | None) -> None:
        """Run it."""
        if point in self._damaged:
            raise RestoreRefusedError("damaged")


NEW, OLD = Path("new"), Path("old")


def test_a_refused_checkpoint_is_answered_by_the_next_older_one() -> None:
    """Whether Flink says so at once or when it reads the state; other jobs are not touched."""
    other = JobStart(_job(), (Path("other"),))
    for cluster in (_Cluster(refused=(NEW,)), _Cluster(damaged=(NEW,))):
        ids = bring_up({"feature_job": JobStart(_job(), (NEW, OLD)), "sample_job": other}, cluster)
        assert cluster.tried.count(OLD) == 1
        assert cluster.tried.count(Path("other")) == 1
        assert None not in cluster.tried
        assert ids.keys() == {"feature_job", "sample_job"}


def test_the_first_record_comes_last_and_only_where_it_may() -> None:
    """When no checkpoint is taken and history is gone, the job stays down with a sentence."""
    cluster = _Cluster(damaged=(NEW, OLD))
    bring_up({"feature_job": JobStart(_job(), (NEW, OLD))}, cluster)
    assert cluster.tried == [NEW, OLD, None]
    with pytest.raises(HistoryLostError, match=r"none of its 2 checkpoints.*but 7 are gone.*rebuild"):
        bring_up({"feature_job": JobStart(_job(), (NEW, OLD), "7 are gone")}, _Cluster(damaged=(NEW, OLD)))
