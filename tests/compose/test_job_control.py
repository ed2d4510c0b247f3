"""A job that is stopped by a command goes on as it was, whatever fails afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import StackError, StackNotRunningError
from compose.job_control import JobControl
from streams.errors import ClusterError
from streams.flink_rest import FlinkRest
from streams.job_files import JobFiles

NAME = "shop-feature-job"


class _Rest(FlinkRest):
    """A JobManager on which one job may run."""

    def __init__(self, is_running: bool = True, is_dead: bool = False, can_stop: bool = True) -> None:
        super().__init__("nowhere:1")
        self.is_running, self._is_dead, self._can_stop = is_running, is_dead, can_stop
        self.folder = ""

    def live_jobs(self) -> dict[str, str]:
        """Return the job, if it runs."""
        if self._is_dead:
            raise ClusterError("Flink at nowhere:1 does not answer")
        return {NAME: "id1"} if self.is_running else {}

    def savepoint(self, job_id: str, folder: str, stop: bool, timeout_s: float) -> str:
        """Write one, and stop where it is told to."""
        if not self._can_stop:
            raise ClusterError("no savepoint")
        self.folder, self.is_running = folder, not stop
        return f"{folder}/savepoint-1"


class _Submitter:
    """Takes options, or refuses them."""

    def __init__(self, refuses: bool = False) -> None:
        self.submitted: list[tuple[str, ...]] = []
        self._refuses = refuses

    def __call__(self, *options: str) -> None:
        """Take them."""
        self.submitted.append(options)
        if self._refuses:
            raise StackError("no slots")


def _control(folder: Path, rest: _Rest, submit: _Submitter) -> JobControl:
    files = JobFiles(folder, "feature_job")
    (files.checkpoints("p1") / "id1").mkdir(parents=True)
    return JobControl(NAME, files, rest, submit)


def test_a_savepoint_lies_under_the_plan_that_wrote_it(tmp_path: Path) -> None:
    """So that nobody has to guess what it fits."""
    rest = _Rest()
    control = _control(tmp_path, rest, _Submitter())
    assert control.running_plan() == "p1"
    assert control.savepoint(stop=False) == tmp_path / "savepoints" / "feature_job" / "p1" / "savepoint-1"


def test_what_goes_well_is_not_gone_back_on(tmp_path: Path) -> None:
    """The block brings up what comes next by itself."""
    rest, submit = _Rest(), _Submitter()
    with _control(tmp_path, rest, submit).stopped():
        assert not rest.is_running
    assert submit.submitted == []


def test_where_the_next_job_fails_the_one_of_before_goes_on(tmp_path: Path) -> None:
    """From the savepoint it was stopped with; Ctrl-C is a failure like any other."""
    for failure in (StackError("not accepted"), KeyboardInterrupt()):
        rest, submit = _Rest(), _Submitter()
        control = _control(tmp_path / type(failure).__name__, rest, submit)
        with pytest.raises(type(failure)), control.stopped() as point:
            raise failure
        assert submit.submitted == [("--restore-from", str(point))]


def test_a_job_that_could_not_be_stopped_is_left_alone(tmp_path: Path) -> None:
    """It runs; one that ended without a savepoint goes on from its checkpoint."""
    for is_running, expected in ((True, []), (False, [("--restore", "--changed-jobs", "keep")])):
        rest, submit = _Rest(can_stop=False), _Submitter()
        control = _control(tmp_path / str(is_running), rest, submit)
        with pytest.raises(ClusterError, match="no savepoint"):
            _stop_while(control, rest, is_running)
        assert submit.submitted == expected


def _stop_while(control: JobControl, rest: _Rest, is_running: bool) -> None:
    original = control.savepoint

    def ends_first(stop: bool) -> Path:
        try:
            return original(stop)
        finally:
            rest.is_running = is_running

    control.savepoint = ends_first  # type: ignore[method-assign]
    with control.stopped():
        raise AssertionError("it was not stopped")


def test_where_even_the_way_back_fails_both_reasons_and_the_state_are_named(tmp_path: Path) -> None:
    """With the commands that go on by hand."""
    control = _control(tmp_path, _Rest(), _Submitter(refuses=True))
    with (
        pytest.raises(StackError, match=r"not accepted; and .* no slots.*savepoint-1.*--changed-jobs keep"),
        control.stopped(),
    ):
        raise StackError("not accepted")


def test_without_job_or_flink_nothing_runs(tmp_path: Path) -> None:
    """Exit code 3, as for a stack that is down."""
    for rest in (_Rest(is_running=False), _Rest(is_dead=True)):
        with (
            pytest.raises(StackNotRunningError) as error,
            _control(tmp_path / str(id(rest)), rest, _Submitter()).stopped(),
        ):
            raise AssertionError("nothing was there to stop")
        assert error.value.exit_code == 3
