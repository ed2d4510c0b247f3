"""The quality job: events and dead letters -> profiles and holds.

    1. read back the profiles and orders that Kafka holds, and the id memory from disk
    2. go on where the newest profile ends; windows between the memory and there are only remembered, not told again
    3. poll; judge the open window every few seconds, and tell when it becomes suspicious or is so no more
    4. close the oldest window when it is complete: judge, publish, remember

Nothing is committed: the offsets of a window lie in its profile. A killed job counts the open window again from there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from features.config import AppConfig
from features.quality.config import QualityConfig
from features.quality.hold_table import CONTROL_TOPIC, RELEASE_ORDER, QualityOrder, decode_order
from features.quality.memory_file import MemoryFile
from features.quality.open_windows import OpenWindows
from features.quality.profile import DROPPED, HELD, RELEASED, Profile
from features.quality.quality_log import StopSignal
from features.quality.quality_stats import QualityStats
from features.quality.watch import Watch

_POLL_MS = 200
_AHEAD_WINDOWS = 2
"""A partition that is further ahead waits for the others, so that a catch-up stays small in memory."""
_RELEARN_MS = 3_600_000
"""Without a memory on disk this much of the log before the newest profile is read for ids."""
_MEMORY_EVERY_S = 300.0
_PAUSE_S = 1.0

_log = logging.getLogger(__name__)


class Log(Protocol):
    """What the job needs of `QualityLog`."""

    def missing_topics(self) -> list[str]:
        """Name topics that do not exist."""

    def read_profiles(self, stop: StopSignal) -> list[Profile]:
        """Return final profiles, oldest first."""

    def read_orders(self, stop: StopSignal) -> list[QualityOrder]:
        """Return all quality orders."""

    def first_offsets(self) -> dict[str, int]:
        """Return where the sources begin."""

    def offsets_at(self, time_ms: int) -> dict[str, int]:
        """Return where the sources stand at a time."""

    def follow(self, offsets: dict[str, int]) -> None:
        """Go to offsets."""

    def poll(self, timeout_ms: int) -> Any:
        """Return (topic, partition, record) of what has come."""

    def drained(self) -> set[str]:
        """Return partitions read to their end."""

    def pause_only(self, names: set[str]) -> None:
        """Let partitions wait."""

    def lag(self) -> int:
        """Return records not read."""

    def publish(self, profiles: Any, stop: StopSignal) -> bool:
        """Write profiles."""


class QualityJob:
    """Watches one app's events until it is told to stop.

    Args:
        app: name and declared actions.
        config: windows and rules.
        log: Kafka.
        memory_file: id memory on disk.
        stats: what is told to the outside.
        stop: set by SIGTERM.
        on_ready: called once, when the positions are found.
        now_ms: wall clock in milliseconds.
    """

    def __init__(
        self,
        app: AppConfig,
        config: QualityConfig,
        log: Log,
        memory_file: MemoryFile,
        stats: QualityStats,
        stop: StopSignal,
        on_ready: Callable[[], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._app = app
        self._config = config
        self._log = log
        self._memory_file = memory_file
        self._stats = stats
        self._stop = stop
        self._on_ready = on_ready
        self._now_ms = now_ms
        self._window_ms = 1000 * config.window_s
        self.watch = Watch(app, config)
        self._known_to_ms = 0
        """Windows that begin before this have a profile."""
        self._told: dict[int, str] = {}
        """State published of the open window, by start."""
        self._looked_s = 0.0
        self._kept_s = time.monotonic()

    def run(self) -> None:
        """Watch until stopped."""
        if not self._wait_for_topics():
            return
        self._windows = self._restore()
        self._log.follow(self._windows.closed_offsets)
        self._on_ready()
        while not self._stop.is_set():
            self.take_turn()
        self._keep_memory()

    def take_turn(self) -> None:
        """Poll once, close what is complete, look at what is open."""
        for topic, partition, record in self._log.poll(_POLL_MS):
            if topic == CONTROL_TOPIC:
                self._carry_out(decode_order(record.value))
            else:
                self._windows.append(topic, partition, record)
        self._close_complete()
        self._log.pause_only(self._windows.ahead(_AHEAD_WINDOWS))
        if time.monotonic() - self._looked_s >= self._config.judge_every_s:
            self._looked_s = time.monotonic()
            self._look_at_open()
        if time.monotonic() - self._kept_s >= _MEMORY_EVERY_S:
            self._keep_memory()
        self._stats.report("watching", lambda: self.watch.held, self._log.lag)

    def _wait_for_topics(self) -> bool:
        has_said = False
        while not self._stop.is_set():
            missing = self._log.missing_topics()
            if not missing:
                return True
            if not has_said:
                _log.warning("no topic %s yet; `headrace topics create` makes them", ", ".join(missing))
                has_said = True
            self._stop.wait(_PAUSE_S)
        return False

    def _restore(self) -> OpenWindows:
        """Read back what is known, and return empty windows at the positions to go on from."""
        profiles = self._log.read_profiles(self._stop)
        for profile in profiles:
            self.watch.remember(profile)
            self._stats.recall(profile)
        self._log.publish(filter(None, map(self._decide, self._log.read_orders(self._stop))), self._stop)
        firsts = self._log.first_offsets()
        if not profiles:
            _log.info("no profile yet: watching from the beginning of the log")
            return OpenWindows(self._app, self._window_ms, firsts)
        self._known_to_ms = profiles[-1].window_end_ms
        mark = self._memory_file.read(self.watch.memory)
        if mark is not None and mark.window_end_ms <= self._known_to_ms:
            offsets, floor_ms = firsts | mark.offsets, mark.window_end_ms
        else:
            floor_ms = (self._known_to_ms - _RELEARN_MS) // self._window_ms * self._window_ms
            offsets = self._log.offsets_at(floor_ms)
            self.watch.memory.clear()
        _log.info("%d profiles read back; going on at %d, ids from %d", len(profiles), self._known_to_ms, floor_ms)
        return OpenWindows(self._app, self._window_ms, offsets, floor_ms)

    def _close_complete(self) -> None:
        drained = self._log.drained()
        grace_ms = int(1000 * self._config.grace_s)
        while (start_ms := self._windows.oldest_ms) is not None:
            if not self._windows.is_complete(start_ms, drained, self._now_ms(), grace_ms):
                return
            window = self._windows.window(start_ms)
            if window.end_ms <= self._known_to_ms:
                self.watch.relearn_ids(window)
            else:
                profile = self.watch.close(window)
                changed = self.watch.judge_again(window.end_ms)
                if not self._log.publish([profile, *changed], self._stop):
                    return
                self._say(profile, self._told.pop(start_ms, ""))
                self._stats.count_window(profile)
            self._windows.close(start_ms)

    def _look_at_open(self) -> None:
        """Judge the window that is open now; not those of the past that a catch-up reads."""
        start_ms = self._windows.oldest_ms
        if start_ms is None or start_ms + self._window_ms <= self._known_to_ms:
            return
        if self._now_ms() > start_ms + 2 * self._window_ms:
            return
        profile = self.watch.look(self._windows.window(start_ms))
        before = self._told.get(start_ms, "")
        if (profile.state == HELD) != (before == HELD) and self._log.publish([profile], self._stop):
            self._say(profile, before)
            self._told[start_ms] = profile.state

    def _carry_out(self, order: QualityOrder | None) -> None:
        if order is not None:
            changed = self._decide(order)
            self._log.publish([changed] if changed else [], self._stop)

    def _decide(self, order: QualityOrder) -> Profile | None:
        if order.name != self._app.name:
            return None
        decision = RELEASED if order.order == RELEASE_ORDER else DROPPED
        return self.watch.decide(order.window_start_ms, decision)

    def _say(self, profile: Profile, before: str) -> None:
        """Log what a person would want to know: a hold that begins, and one that ends."""
        if profile.state == HELD and before != HELD:
            reasons = "; ".join(reason.text for reason in profile.reasons)
            _log.warning("window %d is held from training: %s", profile.window_start_ms, reasons)
        elif profile.state != HELD and before == HELD:
            _log.warning("window %d is held no more: %s", profile.window_start_ms, profile.state)

    def _keep_memory(self) -> None:
        """Write the id memory as of the newest closed window."""
        self._kept_s = time.monotonic()
        if self._windows.floor_ms:
            self._memory_file.write(self.watch.memory, self._windows.floor_ms, self._windows.closed_offsets)
