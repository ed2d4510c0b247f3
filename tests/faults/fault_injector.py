"""Makes faults on a running stack by process id, and undoes them: kill -9, SIGSTOP and SIGCONT, lines, FLUSHALL."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

from redis import Redis

from tests.faults.edged_stack import EdgedStack
from tests.faults.schedule import Fault
from tests.oracle.oracle_stack import busy_taskmanager, kill_part
from tests.running_stack import wait_for

_RECONNECT_S = 30.0
"""How long a client's channel may leave a server alone that is up again: gRPC backs off."""
_UP_S = 600.0


class FaultInjector:
    """Carries a schedule out, each fault in a thread of its own, so that one may begin while another lasts.

    Args:
        stack: what is hurt.
        faults: the schedule.
        say: told of each fault as it begins and ends.
    """

    def __init__(self, stack: EdgedStack, faults: Sequence[Fault], say: Callable[[str], None]) -> None:
        self._stack = stack
        self._waiting = list(faults)
        self._say = say
        self._threads: list[threading.Thread] = []
        self.server_down: list[tuple[float, float]] = []
        """From when until when the server itself was hurt, by the clock of histories."""
        self.failures: list[str] = []

    def advance(self, at: float) -> None:
        """Begin what is due when the load is so far."""
        while self._waiting and self._waiting[0].at <= at:
            fault = self._waiting.pop(0)
            thread = threading.Thread(target=self._carry_out, args=(fault,))
            self._threads.append(thread)
            thread.start()

    def finish(self) -> None:
        """Begin what is left and wait until everything is healed."""
        self.advance(1.0)
        for thread in self._threads:
            thread.join()

    def _carry_out(self, fault: Fault) -> None:
        began_s = time.time()
        self._say(f"  {fault.describe()}")
        try:
            self._hurt(fault)
        except Exception as error:  # A fault that could not be made must not pass for one that was survived.
            self.failures.append(f"{fault.describe()} could not be made: {type(error).__name__}: {error}")
        if fault.target == "server":
            self.server_down.append((began_s - 1.0, time.time() + _RECONNECT_S))
        self._say(f"  healed: {fault.describe()}")

    def _hurt(self, fault: Fault) -> None:
        match fault.kind:
            case "kill":
                restarts = {status.name: status.restarts for status in self._stack.local.statuses}
                name = kill_part(self._stack.oracle, fault.target)
                self._stack.local.wait_ready(name, _UP_S, restarts[name] + 1)
            case "pause":
                self._pause(fault)
            case "line":
                line = self._stack.lines[fault.target]
                line.order(fault.order)
                time.sleep(fault.lasts_s)
                line.order("pass")
            case "flush":
                host, _, port = self._stack.local.endpoints.redis.partition(":")
                with Redis(host, int(port)) as client:
                    client.flushall()

    def _pause(self, fault: Fault) -> None:
        local = self._stack.local
        name = busy_taskmanager(local.endpoints) if fault.target == "taskmanager" else fault.target
        wait_for(lambda: any(s.name == name and s.is_up for s in local.statuses), f"{name} being up", timeout_s=120)
        pid = local.pid_of(name)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(fault.lasts_s)
        with contextlib.suppress(ProcessLookupError):  # Killed meanwhile by another fault.
            os.kill(pid, signal.SIGCONT)
