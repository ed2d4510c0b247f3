"""Which windows are held, as the newest records of two topics say: profiles of the job, orders of ops.

An order counts more than a profile, and a drop more than a release: what was dropped is forgotten and cannot come back.
The quality job, the trainer and `headrace quality` all fold the same records, in whatever order the topics come.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass

import msgspec

from features.json_records import JsonDecoder
from features.quality.profile import DROPPED, HELD, QUALITY_TOPIC, RELEASED

CONTROL_TOPIC = "headrace.control.v1"
RELEASE_ORDER, DROP_ORDER = "quality_release", "quality_drop"
_DECISIONS = {RELEASE_ORDER: RELEASED, DROP_ORDER: DROPPED}
CLEARED = "CLEARED"
"""Held once, and judged clean since."""


class QualityOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order about one window on `headrace.control.v1` (`Order` in protos/models.proto)."""

    idempotency_key: str
    name: str
    """Model name, also the key of the record."""
    order: str
    window_start_ms: int
    window_end_ms: int
    role: str = "ops"
    time_ms: int = 0
    reason: str = ""
    version: str = ""


class Verdict(msgspec.Struct):
    """The part of a profile that decides; the rest of the record is not even decoded."""

    window_start_ms: int
    window_end_ms: int
    state: str


@dataclass
class Hold:
    """A window that was held at some time."""

    start_ms: int
    end_ms: int
    """Not included."""
    verdict: str = CLEARED
    """What the job says: `HELD`, or anything else for no."""
    decision: str = ""
    """What ops say: `RELEASED`, `DROPPED`, or nothing yet."""

    @property
    def state(self) -> str:
        """`HELD`, `RELEASED`, `DROPPED` or `CLEARED`."""
        if self.decision:
            return self.decision
        return self.verdict if self.verdict in (HELD, RELEASED, DROPPED) else CLEARED


def decode_order(raw: bytes | None) -> QualityOrder | None:
    """Decode a record of the control topic; None for orders of other kinds and for what is no order."""
    try:
        order = _order_decoder.decode(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return order if order.order in _DECISIONS and order.window_end_ms > order.window_start_ms else None


_order_decoder = JsonDecoder(QualityOrder)
_verdict_decoder = JsonDecoder(Verdict)


class HoldTable:
    """Windows by start; such that were never held are not kept.

    Args:
        name: model name; orders of others are passed over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.holds: dict[int, Hold] = {}
        self._starts: list[int] = []
        self._longest_ms = 0

    def apply(self, topic: str, raw: bytes | None) -> Hold | None:
        """Take in a record of either topic; return the window whose state it changed."""
        return self._apply_verdict(raw) if topic == QUALITY_TOPIC else self._apply_order(raw)

    def find(self, broker_time_ms: int) -> Hold | None:
        """Return the window around a broker time that keeps samples from training: held or dropped; None for none."""
        place = bisect_right(self._starts, broker_time_ms) - 1
        while place >= 0 and self._starts[place] > broker_time_ms - self._longest_ms:
            hold = self.holds[self._starts[place]]
            if broker_time_ms < hold.end_ms and hold.state in (HELD, DROPPED):
                return hold
            place -= 1
        return None

    def put(self, hold: Hold) -> None:
        """Add a window, or replace it."""
        if hold.start_ms not in self.holds:
            insort(self._starts, hold.start_ms)
        self.holds[hold.start_ms] = hold
        self._longest_ms = max(self._longest_ms, hold.end_ms - hold.start_ms)

    def forget_before(self, end_ms: int) -> None:
        """Forget windows that ended before `end_ms`."""
        for start_ms in [start for start, hold in self.holds.items() if hold.end_ms <= end_ms]:
            del self.holds[start_ms]
            self._starts.remove(start_ms)

    def _apply_verdict(self, raw: bytes | None) -> Hold | None:
        try:
            verdict = _verdict_decoder.decode(raw or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        hold = self.holds.get(verdict.window_start_ms)
        if hold is None and verdict.state not in (HELD, DROPPED):
            return None
        hold = hold or Hold(verdict.window_start_ms, verdict.window_end_ms)
        return self._changed(hold, verdict=verdict.state)

    def _apply_order(self, raw: bytes | None) -> Hold | None:
        order = decode_order(raw)
        if order is None or order.name != self._name:
            return None
        hold = self.holds.get(order.window_start_ms) or Hold(order.window_start_ms, order.window_end_ms)
        return None if hold.decision == DROPPED else self._changed(hold, decision=_DECISIONS[order.order])

    def _changed(self, hold: Hold, verdict: str | None = None, decision: str | None = None) -> Hold | None:
        before = hold.state if hold.start_ms in self.holds else CLEARED
        hold.verdict = hold.verdict if verdict is None else verdict
        hold.decision = hold.decision if decision is None else decision
        self.put(hold)
        return hold if hold.state != before else None
