"""The local stack as one object, for `headrace up`, the demo and tests: `LocalStack(config, state_dir).start()`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from compose.config import load_headrace_config
from compose.errors import PartFailedError, StackError, StackRunningError
from compose.headrace_parts import all_parts
from compose.part import Part, StackLayout
from compose.ports import PortMode, choose_ports
from compose.processes import ProcessRecord, end_all, record_of
from compose.state_file import read_state_file
from compose.supervisor import PartStatus, Supervisor
from features.config import Endpoints
from features.whole_file import replace_file
from serving.security.operator_tokens import make_operator_tokens, operator_files
from streams.job_start import ChangedJobs

STATUS_FILE = "status.json"
Progress = Callable[[tuple[PartStatus, ...]], None]


class LocalStack:
    """Kafka, Redis, Flink and our own parts on this machine, all below one state directory."""

    def __init__(
        self,
        config_path: Path | str,
        state_dir: Path | str,
        ports: PortMode = "auto",
        parts: Sequence[str] | None = None,
        extra_parts: Sequence[Part] = (),
        changed_jobs: ChangedJobs = "replay",
    ) -> None:
        """Describe a stack; nothing is touched yet.

        Args:
            config_path: `headrace.yaml`.
            state_dir: Where everything is kept; one running stack each.
            ports: `default` takes those of the `stack` section, `auto` free ones.
            parts: Names of the parts wanted, all by default; what they need must be among them or is taken as given.
            extra_parts: Parts beside the stack's own, see `compose.headrace_parts.extra_server_part`; one that has the
                name of an own part takes its place.
            changed_jobs: What becomes of a Flink job whose state is of another configuration, see `streams.job_start`.
        """
        self._config_path = Path(config_path).resolve()
        self._state_dir = Path(state_dir).resolve()
        self._port_mode = ports
        self._wanted = parts
        self._extra_parts = tuple(extra_parts)
        self._changed_jobs = changed_jobs
        self._lock: IO[str] | None = None
        self._layout: StackLayout | None = None
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> LocalStack:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, progress: Progress | None = None) -> Endpoints:
        """Start every part and wait until all are ready; on failure or Ctrl-C nothing is left running.

        Args:
            progress: Called in this thread with the state of all parts whenever one changed.

        Raises:
            ConfigError: `headrace.yaml` cannot be used.
            StackError: one of its kinds, see `compose.errors`.
        """
        config = load_headrace_config(self._config_path)
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_state(self._state_dir)
        try:
            end_leftovers(self._state_dir)
            ports = choose_ports(self._port_mode, config.stack.ports, self._state_dir / "ports.json")
            tls = config.serving.security.tls
            layout = StackLayout(
                self._config_path,
                self._state_dir,
                ports,
                config.app,
                config.stack,
                None if tls is None else tls.for_own_clients(),
                self._changed_jobs,
                config.model_store.uri,
            )
            self._layout = layout
            _write_common_files(layout)
            self._supervisor = Supervisor(self._parts(layout), layout, self._write_status)
            self._supervisor.start()
            self._wait_until_up(self._supervisor, config.stack.start_timeout_s, progress)
        except BaseException:
            self.stop()
            raise
        return layout.endpoints

    def stop(self) -> None:
        """End every part; may be called at any time, and twice."""
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def raise_if_failed(self) -> None:
        """Raise what ended the supervisor, if anything did.

        Raises:
            StackError: the supervisor ended by itself, and every part with it.
        """
        if self._supervisor is not None:
            self._supervisor.wait_until(lambda _statuses: True, timeout_s=0.0)

    @property
    def endpoints(self) -> Endpoints:
        """The addresses, known once `start` was called."""
        return self._started_layout().endpoints

    @property
    def endpoints_path(self) -> Path:
        """File with the addresses."""
        return self._started_layout().endpoints_path

    @property
    def statuses(self) -> tuple[PartStatus, ...]:
        """All parts in the order of starting."""
        return self._supervisor.statuses if self._supervisor is not None else ()

    def address_of(self, name: str) -> str:
        """Return `host:port` of an extra part."""
        return self._started_layout().address(name)

    def log_path(self, part: str) -> Path:
        """Return the log of one part."""
        return self._started_layout().log_path(part)

    def pid_of(self, part: str) -> int:
        """Return the process id of a running part.

        Raises:
            StackError: it has no process now.
        """
        record = self._status_of(part).record
        if record is None:
            raise StackError(f"{part} has no process now (it is {self._status_of(part).state.value})")
        return record.pid

    def restarts(self, part: str) -> int:
        """Return how often a part was started again after it had died."""
        return self._status_of(part).restarts

    def wait_ready(self, part: str, timeout_s: float = 60.0, after_restarts: int = 0) -> None:
        """Wait until a part is up and was started again at least `after_restarts` times.

        Raises:
            PartFailedError: it was not within `timeout_s`.
        """

        def is_up(statuses: tuple[PartStatus, ...]) -> bool:
            return any(s.name == part and s.is_up and s.restarts >= after_restarts for s in statuses)

        if self._supervisor is None or not self._supervisor.wait_until(is_up, timeout_s):
            raise PartFailedError(f"{part} was not ready within {timeout_s:g} s; its log is {self.log_path(part)}")

    def _parts(self, layout: StackLayout) -> list[Part]:
        known = {part.name: part for part in (*all_parts(layout.stack), *self._extra_parts)}
        if self._wanted is None:
            return list(known.values())
        unknown = sorted(set(self._wanted) - known.keys())
        if unknown:
            raise StackError(f"unknown part {unknown[0]!r} (known: {', '.join(sorted(known))})")
        wanted = {*self._wanted, *(part.name for part in self._extra_parts)}
        return [_without_needs_outside(part, wanted) for part in known.values() if part.name in wanted]

    def _wait_until_up(self, supervisor: Supervisor, timeout_s: float, progress: Progress | None) -> None:
        deadline = time.monotonic() + timeout_s + 5.0  # The supervisor itself gives up first, and says which part.
        shown: tuple[PartStatus, ...] = ()
        while not shown or not all(status.is_up for status in shown):
            statuses = supervisor.wait_for_change(shown, timeout_s=1.0)
            if progress is not None and statuses != shown:
                progress(statuses)
            shown = statuses
            if time.monotonic() > deadline:
                raise PartFailedError(f"the stack was not up within {timeout_s:g} s; see {self._state_dir}/logs")

    def _started_layout(self) -> StackLayout:
        if self._layout is None:
            raise StackError("the stack was not started")
        return self._layout

    def _status_of(self, part: str) -> PartStatus:
        for status in self.statuses:
            if status.name == part:
                return status
        raise StackError(f"this stack has no part {part!r}")

    def _write_status(self, statuses: tuple[PartStatus, ...]) -> None:
        data = {
            "supervisor": record_of(os.getpid()).to_json(),
            "parts": [
                {
                    "name": status.name,
                    "state": status.state.value,
                    "process": status.record.to_json() if status.record is not None else None,
                    "restarts": status.restarts,
                }
                for status in statuses
            ],
        }
        with contextlib.suppress(OSError):  # A full disk must not end a stack that runs.
            replace_file(self._state_dir / STATUS_FILE, json.dumps(data, indent=2).encode())


def read_status(state_dir: Path) -> dict[str, Any]:
    """Return what the supervisor last wrote; empty where none ever did."""
    return read_state_file(state_dir / STATUS_FILE)


def recorded_processes(state_dir: Path) -> list[ProcessRecord]:
    """Return the processes of the parts as last written."""
    parts = read_status(state_dir).get("parts", [])
    return [ProcessRecord.from_json(part["process"]) for part in parts if part.get("process")]


def end_leftovers(state_dir: Path, timeout_s: float = 5.0) -> None:
    """End processes that a killed supervisor left behind."""
    end_all(recorded_processes(state_dir), timeout_s)


def is_stack_running(state_dir: Path) -> bool:
    """Say whether a supervisor holds this state directory."""
    if not state_dir.is_dir():
        return False
    try:
        _lock_state(state_dir).close()
    except StackRunningError:
        return True
    return False


def _write_common_files(layout: StackLayout) -> None:
    for folder in ("logs", "models", "trainer", "feast"):
        (layout.state_dir / folder).mkdir(parents=True, exist_ok=True)
    replace_file(layout.endpoints_path, layout.endpoints.model_dump_json(indent=2).encode())
    for path in operator_files(layout.state_dir).values():  # Anew at every start.
        path.unlink(missing_ok=True)
    make_operator_tokens(layout.state_dir)


def _lock_state(state_dir: Path) -> IO[str]:
    """Take the lock that a running stack holds; the kernel frees it even when its holder is killed."""
    lock = (state_dir / "supervisor.lock").open("a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StackRunningError(
            f"a stack already runs in {state_dir}; `headrace down --state {state_dir}` ends it"
        ) from error
    return lock


def _without_needs_outside(part: Part, wanted: set[str]) -> Part:
    repeat_after = part.repeat_after if part.repeat_after in wanted else None
    return replace(part, needs=tuple(need for need in part.needs if need in wanted), repeat_after=repeat_after)
