"""The supervisor starts parts in order, restarts the dead, and ends all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from compose.errors import PartFailedError
from compose.part import CommandBuilder, Part
from compose.processes import is_alive
from compose.supervisor import PartState, PartStatus, Supervisor
from tests.compose.small_stack import IGNORE_TERM, WAIT_S, layout_in, program, server


class Run:
    """A supervisor with everything it ever published."""

    def __init__(self, folder: Path, parts: Sequence[Part], **stack: float) -> None:
        self.published: list[tuple[PartStatus, ...]] = []
        self.supervisor = Supervisor(parts, layout_in(folder, **stack), self.published.append)
        self.supervisor.start()

    def wait_up(self, name: str, restarts: int = 0) -> PartStatus:
        """Wait until a part is up after so many restarts."""

        def is_up(statuses: tuple[PartStatus, ...]) -> bool:
            return any(s.name == name and s.is_up and s.restarts >= restarts for s in statuses)

        assert self.supervisor.wait_until(is_up, WAIT_S), self.supervisor.statuses
        return self.status(name)

    def status(self, name: str) -> PartStatus:
        """Return the present status of a part."""
        return next(status for status in self.supervisor.statuses if status.name == name)

    def kill(self, name: str) -> None:
        """Kill a part as a crash would."""
        record = self.wait_up(name).record
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)


Runs = list[Run]


@pytest.fixture
def runs() -> Iterator[Runs]:
    """Supervisors that are stopped after the test."""
    started: Runs = []
    yield started
    for run in started:
        run.supervisor.stop()


def test_killed_part_comes_back(tmp_path: Path, runs: Runs) -> None:
    """A dead server is started again, as another process."""
    runs.append(run := Run(tmp_path, [server("a")]))
    first = run.wait_up("a").record
    run.kill("a")
    second = run.wait_up("a", restarts=1)
    assert second.restarts == 1
    assert second.record is not None
    assert second.record != first


def test_part_waits_for_what_it_needs(tmp_path: Path, runs: Runs) -> None:
    """No part is started before those it needs are up."""
    step = Part("step", lambda _layout: program("pass"))
    runs.append(run := Run(tmp_path, [server("late", needs=("step", "early")), server("early"), step]))
    run.wait_up("late")
    for statuses in run.published:
        states = {status.name: status for status in statuses}
        assert states["late"].state is PartState.WAITING or (states["early"].is_up and states["step"].is_up)


def test_step_repeats_after_its_server_came_back(tmp_path: Path, runs: Runs) -> None:
    """A step bound to a server is done again each time that server died, and then by the command for that."""
    done = tmp_path / "done"

    def writes(letter: str) -> CommandBuilder:
        return lambda _layout: program(f"open({str(done)!r}, 'a').write({letter!r})")

    step = Part("jobs", writes("x"), needs=("jm",), repeat_after="jm", repeat_command=writes("y"))
    runs.append(run := Run(tmp_path, [server("jm"), step]))
    run.wait_up("jobs")
    run.kill("jm")
    run.wait_up("jm", restarts=1)
    assert run.supervisor.wait_until(lambda _now: done.read_text() == "xy", WAIT_S)


def test_bad_configuration_fails_the_start_at_once(tmp_path: Path, runs: Runs) -> None:
    """Exit code 2 before READY is not tried again, and the part's own sentence is passed on."""
    broken = server("a", "import sys; print('trainer.lr must be positive'); sys.exit(2)")
    runs.append(run := Run(tmp_path, [broken]))
    with pytest.raises(PartFailedError, match=r"a cannot start: trainer\.lr must be positive"):
        run.wait_up("a")


def test_part_that_never_gets_ready_fails_the_start(tmp_path: Path, runs: Runs) -> None:
    """The message says which part, after how long, and where its log is."""
    runs.append(run := Run(tmp_path, [server("slow", "import signal; signal.pause()")], start_timeout_s=0.3))
    with pytest.raises(PartFailedError, match=r"slow was not ready after 0.3 s .*slow\.log"):
        run.wait_up("slow")


def test_failed_start_leaves_no_process(tmp_path: Path, runs: Runs) -> None:
    """What was already up is ended again."""
    broken = server("bad", "import sys; sys.exit(2)", needs=("good",))
    runs.append(run := Run(tmp_path, [server("good"), broken]))
    with pytest.raises(PartFailedError):
        run.wait_up("bad")
    run.supervisor.stop()
    records = {status.record for statuses in run.published for status in statuses if status.record}
    assert records
    assert not any(is_alive(record) for record in records)


def test_stop_ends_deaf_parts_too(tmp_path: Path, runs: Runs) -> None:
    """Nothing is left after a stop, even what ignores SIGTERM."""
    runs.append(run := Run(tmp_path, [server("a", IGNORE_TERM)], stop_timeout_s=0.1))
    record = run.wait_up("a").record
    assert record is not None
    run.supervisor.stop()
    assert not is_alive(record)
    assert run.status("a").state is PartState.STOPPED


def test_pauses_between_restarts_grow(tmp_path: Path, runs: Runs) -> None:
    """A part that dies again and again is started ever less often, and the start still waits for it."""
    counter = tmp_path / "count"
    code = (
        f"import pathlib, signal, sys; p = pathlib.Path({str(counter)!r})\n"
        "n = len(p.read_text()) if p.exists() else 0\n"
        "p.write_text('x' * (n + 1))\n"
        "if n < 3: sys.exit(1)\n"
        "print('READY x', flush=True); signal.pause()"
    )
    runs.append(run := Run(tmp_path, [server("a", code)]))
    assert run.wait_up("a").restarts == 3
