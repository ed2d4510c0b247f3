"""Several client processes that ask together, and the one tally of all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO

from compose.errors import StackError
from compose.load.process import Plan
from compose.load.tally import Tally
from compose.part import PROJECT_ROOT, base_environment

_HEAD_START_S = 0.1


def run_load(plan: Plan, processes: int, on_calls: Callable[[int], object]) -> Tally:
    """Ask as planned; `on_calls` is told from time to time how many calls have ended.

    Raises:
        StackError: a process failed.
    """
    parts = [_Part(replace(plan, part=part, parts=processes)) for part in range(processes)]
    try:
        for part in parts:
            part.wait_until_ready()
        start_s = time.monotonic() + _HEAD_START_S
        readers = [part.start(start_s, lambda: on_calls(sum(part.calls for part in parts))) for part in parts]
        for reader in readers:
            reader.join()
        return _sum([part.tally() for part in parts])
    finally:
        for part in parts:
            part.end()


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


class _Part:
    """One process."""

    def __init__(self, plan: Plan) -> None:
        self.calls = 0
        self._last = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compose.load.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT_ROOT,
            env=base_environment(),
        )
        self._say(plan.to_wire())

    def wait_until_ready(self) -> None:
        """Wait until its connections are warm."""
        if self._output.readline() != "READY\n":
            raise StackError("a client process of the load generator failed; its reason stands above")

    def start(self, start_s: float, on_calls: Callable[[], object]) -> threading.Thread:
        """Let it begin at a moment, and follow it from a thread."""
        self._say(str(start_s))

        def follow() -> None:
            for line in self._output:
                if line.startswith("CALLS "):
                    self.calls = int(line.split()[1])
                    on_calls()
                else:
                    self._last = line

        thread = threading.Thread(target=follow, name="load-part")
        thread.start()
        return thread

    def tally(self) -> Tally:
        """Return what it counted."""
        if self._process.wait() or not self._last:
            raise StackError("a client process of the load generator failed; its reason stands above")
        return Tally.from_wire(json.loads(self._last))

    def end(self) -> None:
        """End it, however far it is."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
