"""What must never have been learnt: samples of purged windows, and those of users who were forgotten.

Neither counts in a table nor teaches a weight, other than a held sample. A purge of what is learnt already wants the
trainer to go back: to a checkpoint from before the window, and through the batch log again without these samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from trainer.samples import Sample

_REMEMBERED_MS = 8 * 86_400_000
"""Longer than samples are kept on their topic: what is older cannot come any more."""


class Window(NamedTuple):
    """Broker times, the end not included."""

    start_ms: int
    end_ms: int


class _Saved(msgspec.Struct):
    windows: list[tuple[int, int]] = []
    forgotten: dict[str, int] = {}
    wanted: list[tuple[int, int]] = []
    passed_over: int = 0
    orders: int = 0


class Quarantine:
    """Purged windows and forgotten users; a function of the batch log."""

    def __init__(self) -> None:
        self._windows: list[Window] = []
        self._forgotten: dict[str, int] = {}
        """User -> broker time up to which samples are those of the forgotten one."""
        self.wanted: list[Window] = []
        """Windows of which something may be learnt already: the trainer is to go back before the first."""
        self.passed_over = 0
        """Samples that were not learnt because of it."""
        self.orders = 0
        """Orders to forget that were followed."""

    def add(self, window: Window) -> None:
        """Take no sample of a window from now on."""
        if window not in self._windows:
            self._windows.append(window)

    def want(self, window: Window) -> None:
        """Ask for what is learnt of a window to be taken back."""
        if window not in self.wanted:
            self.wanted.append(window)

    def forget_user(self, user_id: str, until_ms: int) -> None:
        """Take no sample of a user from before a time; such as are older than their topic keeps are let go."""
        oldest_ms = until_ms - _REMEMBERED_MS
        self._forgotten = {user: time_ms for user, time_ms in self._forgotten.items() if time_ms >= oldest_ms}
        self._forgotten[user_id] = max(until_ms, self._forgotten.get(user_id, 0))
        self.orders += 1

    def holds_back(self, sample: Sample) -> bool:
        """Say whether a sample must not be learnt, and count it where so."""
        time_ms = sample.broker_time_ms or 0
        is_purged = any(window.start_ms <= time_ms < window.end_ms for window in self._windows)
        # Late feedback to a list from before brings the forgotten user's row along.
        oldest_ms = min(time_ms, sample.served_time_ms or time_ms)
        if is_purged or (self._forgotten and oldest_ms <= self._forgotten.get(sample.user_id, -1)):
            self.passed_over += 1
            return True
        return False

    def status(self) -> dict[str, Any]:
        """Return what the status file tells."""
        return {
            "windows": [list(window) for window in self._windows],
            "waiting": [list(window) for window in self.wanted],
            "forgotten_users": len(self._forgotten),
            "passed_over": self.passed_over,
            "orders": self.orders,
        }

    def saved(self) -> dict[str, Any]:
        """Return everything, for the checkpoint."""
        windows, wanted = ([(one.start_ms, one.end_ms) for one in part] for part in (self._windows, self.wanted))
        content: dict[str, Any] = msgspec.to_builtins(
            _Saved(windows, dict(self._forgotten), wanted, self.passed_over, self.orders)
        )
        return content

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `saved` returned; nothing where a checkpoint of before has none."""
        saved = msgspec.convert(content, _Saved)
        self._windows = [Window(*one) for one in saved.windows]
        self._forgotten, self.passed_over = dict(saved.forgotten), saved.passed_over
        self.wanted = [Window(*one) for one in saved.wanted]
        self.orders = saved.orders
