"""Raw events as columns: one decode each, ids as 64-bit hashes, and a reason for each record that cannot be used.

The reasons are those of the feature job (`streams/events.py`), but for what is left to it: what is nested too deep,
contexts, tokens, and half a character that an escape writes in a field that is not read here. They are found here again
so that a window can be judged while it is open, also with Flink down; what Flink itself rejects is counted beside them,
from the dead letters.
"""

from __future__ import annotations

import json
import math
import re
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import mmh3
import msgspec
import numpy as np
from numpy.typing import NDArray

from features.config import CONTROL_CHARACTER, MAX_ID_BYTES, ActionConfig, AppConfig, parse_condition
from features.json_records import JsonDecoder

_MAX_TEXT_CHARACTERS = 65_536
_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, as an escape alone can write it; no UTF-8."""


class _RawEvent(msgspec.Struct):
    event_id: str | None = None
    user_id: str | None = None
    item_id: str | None = None
    action: str | None = None
    event_time_ms: int | float | None = None
    """A float is none, however whole: told apart from one only where both may come."""
    value: float | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class EventColumns:
    """The usable events of a window, and how many records were not; each array (n,)."""

    events: NDArray[np.uint64]
    """Hashes of event ids, likewise users and items."""
    users: NDArray[np.uint64]
    items: NDArray[np.uint64]
    actions: NDArray[np.int16]
    """Index into the declared actions."""
    values: NDArray[np.float64]
    """NaN where an event has none."""
    age_ms: NDArray[np.int64]
    """Broker time minus event time."""
    has_request: NDArray[np.int8]
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Records without use by reason."""

    @property
    def records(self) -> int:
        """All records read, usable or not."""
        return len(self.events) + sum(self.unusable.values())


def id_hash(text: str) -> int:
    """Return the 64-bit hash of an id: the same in every process, unlike Python's own."""
    return mmh3.hash64(text, signed=False)[0]


class ColumnBuffer:
    """Collects the records of one window; about 40 bytes an event.

    Args:
        app: declared actions, horizon.
    """

    def __init__(self, app: AppConfig) -> None:
        self._action_rows = {name: row for row, name in enumerate(app.actions)}
        self._horizon_ms = int(app.features.horizon_h * 3_600_000)
        self._hashes = array("Q")
        """event, user, item, event, ..."""
        self._actions = array("h")
        self._values = array("d")
        self._age_ms = array("q")
        self._has_request = array("b")
        self._unusable: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._actions) + self._unusable.total()

    def append(self, raw: bytes | None, record_time_ms: int) -> None:
        """Decode one record and keep it as columns, or count why it cannot be used."""
        reason = self._append_usable(raw or b"", record_time_ms)
        if reason:
            self._unusable[reason] += 1

    def columns(self) -> EventColumns:
        """Return what was collected so far, as a copy."""
        hashes = np.array(self._hashes, dtype=np.uint64).reshape(-1, 3)
        return EventColumns(
            events=hashes[:, 0].copy(),
            users=hashes[:, 1].copy(),
            items=hashes[:, 2].copy(),
            actions=np.array(self._actions, dtype=np.int16),
            values=np.array(self._values, dtype=np.float64),
            age_ms=np.array(self._age_ms, dtype=np.int64),
            has_request=np.array(self._has_request, dtype=np.int8),
            unusable=dict(self._unusable),
        )

    def _append_usable(self, raw: bytes, record_time_ms: int) -> str:
        """Return the reason why not; nothing where it is kept."""
        if len(raw) > _MAX_TEXT_CHARACTERS:
            return "too_large"
        try:
            if not raw.isascii():
                raw.decode()  # The decoder passes over what it does not keep, whatever bytes that is.
            event = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _first_fault(raw) or "not_json"
        event_id, user_id, item_id, time_ms = event.event_id, event.user_id, event.item_id, event.event_time_ms
        if not (event_id and user_id and item_id and _is_id(event_id) and _is_id(user_id) and _is_id(item_id)):
            return _first_fault(raw)
        action = -1 if event.action is None else self._action_rows.get(event.action, -1)
        if action < 0 or not _is_time(time_ms) or (event.request_id and not _is_id(event.request_id)):
            return _first_fault(raw) or "unknown_action"
        value = np.nan if event.value is None else event.value
        if math.isinf(value):
            return "bad_value"
        age_ms = record_time_ms - time_ms
        if age_ms > self._horizon_ms:
            return "too_old"
        self._hashes.extend((id_hash(event_id), id_hash(user_id), id_hash(item_id)))
        self._actions.append(action)
        self._values.append(value)
        self._age_ms.append(age_ms)
        self._has_request.append(1 if event.request_id else 0)
        return ""


_decode = JsonDecoder(_RawEvent).decode


def _is_id(text: str) -> bool:
    if not 0 < len(text) <= MAX_ID_BYTES or (len(text) > MAX_ID_BYTES // 4 and len(text.encode()) > MAX_ID_BYTES):
        return False
    return text.isprintable() or CONTROL_CHARACTER.search(text) is None


def _is_time(time_ms: object) -> TypeGuard[int]:
    return type(time_ms) is int and 0 < time_ms < 10**18


def _first_fault(raw: bytes) -> str:
    """Return the first reason why a record is no event, field by field, as the feature job looks for them.

    Nothing where the fields themselves are sound.
    """
    try:  # Not by msgspec, which does not say where a number is that no float holds.
        fields = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return "not_json"
    if not isinstance(fields, dict):
        return "not_json"
    for name, is_good in _CHECKS.items():
        value = fields.get(name)
        if value is None:
            if name in _REQUIRED:
                return f"missing_{name}"
        elif not is_good(value):
            return f"bad_{name}"
    return ""


_REQUIRED = ("event_id", "user_id", "item_id", "action", "event_time_ms")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _is_id_text(value: object) -> bool:
    return isinstance(value, str) and _HALF.search(value) is None and _is_id(value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("event_id", "user_id", "item_id", "action"), _is_id_text),
    "event_time_ms": _is_time,
    "value": lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max,
    "request_id": lambda value: value == "" or _is_id_text(value),
}
"""Fields in the order in which faults are looked for."""


def outcomes(
    actions: NDArray[np.int16], values: NDArray[np.float64], declared: Mapping[str, ActionConfig]
) -> NDArray[np.int8]:
    """Return what each event says, as `ActionConfig.outcome_of` does: 1 positive, 0 neutral, -1 negative; (n,)."""
    plain = {"positive": 1, "neutral": 0, "negative": -1}
    result = np.array([plain[action.outcome] for action in declared.values()], dtype=np.int8)[actions]
    for row, action in enumerate(declared.values()):
        conditions = [(action.negative_when, -1), (action.positive_when, 1)]  # The first of outcome_of comes last.
        for text, outcome in conditions:
            if text:
                is_met = _meets(values, text)
                result[(actions == row) & is_met] = outcome
    return result


def _meets(values: NDArray[np.float64], text: str) -> NDArray[np.bool_]:
    condition = parse_condition(text)
    compare = {
        ">=": np.greater_equal,
        "<=": np.less_equal,
        "==": np.equal,
        ">": np.greater,
        "<": np.less,
    }[condition.operator]
    met: NDArray[np.bool_] = compare(values, condition.bound)  # Never true of NaN.
    return met
