"""Owns one worker: starts it, lets it serve, starts it again when it ended, and gives it up when that does not help."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import grpc

from features.errors import StartupError
from serving.workers.link import WorkerLink

logger = logging.getLogger(__name__)

BAD_START = 2
"""Exit code of a server that cannot start as told: trying again would not help."""

Command = Callable[[], Sequence[str]]
"""-> what to run; asked again for each process."""


class WorkerState(StrEnum):
    """Where a worker stands."""

    STARTING = "starting"
    SERVING = "serving"
    WAITING = "waiting"
    """Ended; to be started again after a pause."""
    GIVEN_UP = "given_up"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RestartPolicy:
    """When a worker that ended is started again."""

    first_pause_s: float = 0.2
    longest_pause_s: float = 30.0
    """Pauses double from the first to this one."""
    healthy_s: float = 60.0
    """Who served so long begins anew with the first pause."""
    deaths: int = 8
    """As many in a row, none of them healthy in between, and the worker is given up."""
    start_s: float = 1800.0
    """Longest start; a worker that is not loaded by then hangs, and counts as ended."""
    kill_after_s: float = 15.0
    """How long a worker that was told to stop may take."""


class WorkerProcess:
    """One worker and the processes that are it, one after the other.

    Args:
        number: from 0.
        socket: where its process opens its socket.
        command: what to run.
        let_serve: called when a process is loaded, to let it serve.
        policy: of restarts.
    """

    def __init__(
        self,
        number: int,
        socket: Path,
        command: Command,
        let_serve: Callable[[WorkerProcess], Awaitable[None]],
        policy: RestartPolicy,
    ) -> None:
        self.number = number
        self.state = WorkerState.STARTING
        self.restarts = 0
        self.pid = 0
        """Of the living process, 0 while there is none."""
        self.link = WorkerLink(socket)
        """To the newest process."""
        self._socket = socket
        self._command = command
        self._let_serve = let_serve
        self._policy = policy
        self._is_stopping = asyncio.Event()
        self._deaths_in_a_row = 0
        self._has_served = False

    def __str__(self) -> str:
        return f"worker {self.number}"

    @property
    def is_serving(self) -> bool:
        """Whether it takes requests."""
        return self.state is WorkerState.SERVING

    async def keep_running(self) -> None:
        """Run processes until told to stop or given up.

        Raises:
            StartupError: the first one cannot start as told.
        """
        while not self._is_stopping.is_set():
            self.state = WorkerState.STARTING
            code, served_s = await self._run_once()
            self.pid = 0
            if self._is_stopping.is_set():
                break
            if code == BAD_START and not self._has_served:
                raise StartupError(f"{self} cannot start; its reason stands above")
            self._deaths_in_a_row = 1 if served_s >= self._policy.healthy_s else self._deaths_in_a_row + 1
            if self._deaths_in_a_row >= self._policy.deaths:
                self.state = WorkerState.GIVEN_UP
                await self.link.close()
                logger.error("%s ended %d times in a row (%s); given up", self, self._deaths_in_a_row, _said(code))
                return
            await self._pause(code)
        self.state = WorkerState.STOPPED
        await self.link.close()

    def stop(self) -> None:
        """Let the process drain and end; `keep_running` returns then."""
        self._is_stopping.set()

    async def _pause(self, code: int) -> None:
        policy = self._policy
        pause_s = min(policy.first_pause_s * 2.0 ** (self._deaths_in_a_row - 1), policy.longest_pause_s)
        logger.warning("%s ended (%s); starting it again in %.1f s", self, _said(code), pause_s)
        self.state, self.restarts = WorkerState.WAITING, self.restarts + 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._is_stopping.wait()

    async def _run_once(self) -> tuple[int, float]:
        """Run one process to its end; return its exit code and how long it served."""
        self._socket.unlink(missing_ok=True)  # A killed one left it behind, and nobody answers there.
        await self.link.close()
        self.link = WorkerLink(self._socket)
        process = await asyncio.create_subprocess_exec(*self._command(), stdin=asyncio.subprocess.PIPE)
        self.pid = process.pid
        ended = asyncio.create_task(process.wait())
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(self._is_stopping.wait())
        started_s = 0.0
        try:
            await asyncio.wait((ended, serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and serving.result():
                started_s = time.monotonic()
                await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, stopping):
                task.cancel()
            served_s = time.monotonic() - started_s if started_s else 0.0
            self.state = WorkerState.WAITING
            await self._end(process, ended)
        return ended.result(), served_s

    async def _serve(self) -> bool:
        """Wait until the process is loaded and let it serve; False where that failed."""
        try:
            async with asyncio.timeout(self._policy.start_s):
                await self.link.wait_until_loaded()
            await self._let_serve(self)
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            logger.error("%s cannot serve (%s)", self, getattr(error, "details", lambda: "not loaded in time")())
            return False
        self.state, self._has_served = WorkerState.SERVING, True
        logger.info("%s serves, pid %d", self, self.pid)
        return True

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        """Let the process drain, kill it where it takes too long, and reap it."""
        assert process.stdin is not None
        process.stdin.close()
        done, _ = await asyncio.wait((ended,), timeout=self._policy.kill_after_s)
        if not done:
            logger.error("%s, pid %d, does not stop; killing it", self, process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await ended


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
