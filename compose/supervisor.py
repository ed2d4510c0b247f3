"""Keep the parts of a stack running: start each when what it needs is ready, start it again when it died.

One thread does all of it, because the kernel ends a part together with the thread that started it (`launch.py`). It
looks at every part ten times a second; what it knows is published as a tuple of `PartStatus`.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from compose.errors import PartFailedError, StackError
from compose.part import PROJECT_ROOT, LogTail, Part, StackLayout, base_environment
from compose.processes import ProcessRecord, end_all, spawn

_LOOK_S = 0.1
_HEALTHY_S = 60.0
_BAD_CONFIGURATION = 2
_REAP_S = 5.0


class PartState(StrEnum):
    """Where a part stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class PartStatus:
    """What the supervisor knows about a part."""

    name: str
    state: PartState
    record: ProcessRecord | None
    """Of the living process."""
    restarts: int

    @property
    def is_up(self) -> bool:
        """Whether others may build on it."""
        return self.state in (PartState.READY, PartState.DONE)


class _Run:
    """One part with its current process."""

    def __init__(self, part: Part, layout: StackLayout) -> None:
        self.part = part
        self.state = PartState.WAITING
        self.restarts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.record: ProcessRecord | None = None
        self.log = LogTail(layout.log_path(part.name))
        self.was_up = False
        self.deaths_in_a_row = 0
        self.not_before_s = 0.0
        self.started_s = 0.0
        self.repeats_seen = 0

    def status(self) -> PartStatus:
        return PartStatus(self.part.name, self.state, self.record, self.restarts)


class Supervisor:
    """Runs the parts of one stack in a thread of its own."""

    def __init__(
        self, parts: Sequence[Part], layout: StackLayout, on_change: Callable[[tuple[PartStatus, ...]], None]
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            parts: In the order of starting.
            layout: Where they keep their files.
            on_change: Called from the supervisor's thread after every change of state.
        """
        self._layout = layout
        self._runs = {part.name: _Run(part, layout) for part in parts}
        self._on_change = on_change
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._statuses = tuple(run.status() for run in self._runs.values())
        self._failure: StackError | None = None
        self._first_start_s = 0.0
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to start the parts, and return at once."""
        self._first_start_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End every part; returns when no process is left."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def statuses(self) -> tuple[PartStatus, ...]:
        """The parts in the order of starting."""
        return self._statuses

    def wait_until(self, is_met: Callable[[tuple[PartStatus, ...]], bool], timeout_s: float) -> bool:
        """Wait for a condition; say whether it came true in time.

        Raises:
            StackError: the stack failed to start.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or is_met(self._statuses), timeout_s)
        if self._failure is not None:
            raise self._failure
        return is_met(self._statuses)

    def wait_for_change(self, seen: tuple[PartStatus, ...], timeout_s: float) -> tuple[PartStatus, ...]:
        """Return the statuses as soon as they differ from `seen`, or after `timeout_s`.

        Raises:
            StackError: the stack failed to start.
        """
        self.wait_until(lambda now: now != seen, timeout_s)
        return self._statuses

    def _supervise(self) -> None:
        try:
            while not self._stopping.is_set() and self._failure is None:
                for run in self._runs.values():
                    self._advance(run)
                self._publish()
                self._stopping.wait(_LOOK_S)
        except StackError as error:
            self._fail(error)
        except Exception as error:  # A supervisor that ends without a word leaves its caller waiting.
            self._fail(StackError(f"the supervisor failed: {type(error).__name__}: {error}"))
        finally:
            self._end_everything()

    def _advance(self, run: _Run) -> None:
        """Take one part one step further."""
        if run.state in (PartState.WAITING, PartState.RESTARTING):
            if time.monotonic() >= run.not_before_s and all(self._is_up(name) for name in run.part.needs):
                self._start(run)
        elif run.state is PartState.STARTING:
            self._look_at_starting(run)
        elif run.state is PartState.READY and run.process is not None and run.process.poll() is not None:
            self._bury(run)
        elif run.state is PartState.DONE and self._must_repeat(run):
            run.state = PartState.WAITING

    def _is_up(self, name: str) -> bool:
        return self._runs[name].status().is_up

    def _start(self, run: _Run) -> None:
        part = run.part
        build = (run.was_up and part.repeat_command) or part.command
        command = list(build(self._layout))
        if part.repeat_after is not None:
            run.repeats_seen = self._runs[part.repeat_after].restarts
        environment = base_environment() | dict(part.environment(self._layout.state_dir))
        run.log = LogTail(self._layout.log_path(part.name))
        run.process, run.record = spawn(command, run.log.path, environment, PROJECT_ROOT)
        run.started_s = time.monotonic()
        run.state = PartState.STARTING

    def _look_at_starting(self, run: _Run) -> None:
        assert run.process is not None
        code = run.process.poll()
        if code == 0 and run.part.probe is None:
            run.state, run.record, run.was_up, run.deaths_in_a_row = PartState.DONE, None, True, 0
        elif code is not None:
            self._bury(run)
        elif run.part.probe is not None and run.part.probe(self._layout, run.log):
            run.state, run.was_up = PartState.READY, True
        elif not run.was_up and self._is_late():
            raise PartFailedError(
                f"{run.part.name} was not ready after {self._layout.stack.start_timeout_s:g} s "
                f"({run.log.last_line()}); its log is {run.log.path}"
            )

    def _bury(self, run: _Run) -> None:
        """Take note of a death, and plan the next start."""
        assert run.process is not None
        assert run.record is not None
        code = run.process.returncode
        if not run.was_up and (code == _BAD_CONFIGURATION or self._is_late()):
            raise PartFailedError(f"{run.part.name} cannot start: {run.log.last_line()} (log: {run.log.path})")
        end_all([run.record], timeout_s=0.0)  # What it started must not outlive it.
        if time.monotonic() - run.started_s > _HEALTHY_S:
            run.deaths_in_a_row = 0
        pause_s = self._layout.stack.restart_backoff_s * 2.0 ** min(run.deaths_in_a_row, 10)
        run.not_before_s = time.monotonic() + min(pause_s, self._layout.stack.restart_backoff_max_s)
        run.deaths_in_a_row += 1
        run.restarts += 1
        run.state, run.record, run.process = PartState.RESTARTING, None, None

    def _is_late(self) -> bool:
        return time.monotonic() - self._first_start_s > self._layout.stack.start_timeout_s

    def _must_repeat(self, run: _Run) -> bool:
        other = self._runs.get(run.part.repeat_after or "")
        return other is not None and other.restarts > run.repeats_seen and other.state is PartState.READY

    def _end_everything(self) -> None:
        """End what needs others first, so that it can still say goodbye to them."""
        for is_first in (True, False):
            runs = [r for r in self._runs.values() if r.process is not None and bool(r.part.needs) is is_first]
            records = [run.record for run in runs if run.record is not None]
            end_all(records, self._layout.stack.stop_timeout_s, _reaper(runs))
            for run in runs:
                _collect(run)
        for run in self._runs.values():
            if run.process is not None:
                # A JVM's first thread is gone before its last, and can be collected only then.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.process.wait(_REAP_S)
            run.state, run.record = PartState.STOPPED, None
        self._publish()

    def _fail(self, error: StackError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _publish(self) -> None:
        statuses = tuple(run.status() for run in self._runs.values())
        if statuses == self._statuses:
            return
        self._on_change(statuses)  # First: who waits for a state finds it in the status file too.
        with self._changed:
            self._statuses = statuses
            self._changed.notify_all()


def _collect(run: _Run) -> None:
    """Wait for a process that was ended: a JVM's first thread is gone a moment before its last one."""
    assert run.process is not None
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.process.wait(timeout=5.0)


def _reaper(runs: list[_Run]) -> Callable[[], None]:
    """Return a function that collects dead children: one nobody collects looks alive to `kill`."""

    def reap() -> None:
        for run in runs:
            if run.process is not None:
                run.process.poll()

    return reap
