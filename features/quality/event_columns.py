"""Raw events as columns: one decode each, ids as 64-bit hashes, and a reason for each record that cannot be used.

The reasons are those of the feature job (`streams/events.py`); only what is nested too deep, contexts and tokens are
left to it. They are found here again so that a window can be judged while it is open, also with Flink down; what Flink
itself rejects is counted beside them, from the dead letters.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import mmh3
import msgspec
import numpy as np
from numpy.typing import NDArray

from features.config import ActionConfig, AppConfig, parse_condition
from features.json_records import JsonDecoder

_MAX_ID_BYTES = 128
_MAX_TEXT_CHARACTERS = 65_536
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class _RawEvent(msgspec.Struct):
    event_id: str | None = None
    user_id: str | None = None
    item_id: str | None = None
    action: str | None = None
    event_time_ms: int | None = None
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
            event = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _reason_of_undecodable(raw)
        for name, text in (("event_id", event.event_id), ("user_id", event.user_id), ("item_id", event.item_id)):
            if text is None:
                return f"missing_{name}"
            if not _is_id(text):
                return f"bad_{name}"
        action = -1 if event.action is None else self._action_rows.get(event.action, -1)
        reason = _reason_of_rest(event, action)
        if reason:
            return reason
        assert event.event_id and event.user_id and event.item_id and event.event_time_ms  # noqa: PT018
        age_ms = record_time_ms - event.event_time_ms
        if age_ms > self._horizon_ms:
            return "too_old"
        self._hashes.extend((id_hash(event.event_id), id_hash(event.user_id), id_hash(event.item_id)))
        self._actions.append(action)
        self._values.append(np.nan if event.value is None else event.value)
        self._age_ms.append(age_ms)
        self._has_request.append(1 if event.request_id else 0)
        return ""


_decode = JsonDecoder(_RawEvent).decode


def _is_id(text: str) -> bool:
    if not 0 < len(text) <= _MAX_ID_BYTES or (len(text) > _MAX_ID_BYTES // 4 and len(text.encode()) > _MAX_ID_BYTES):
        return False
    return text.isprintable() or _CONTROL.search(text) is None


def _reason_of_rest(event: _RawEvent, action: int) -> str:
    """Judge what is no id."""
    if event.action is None:
        return "missing_action"
    if event.event_time_ms is None:
        return "missing_event_time_ms"
    if not 0 < event.event_time_ms < 10**18:
        return "bad_event_time_ms"
    if event.request_id and not _is_id(event.request_id):
        return "bad_request_id"
    if action < 0:
        return "unknown_action" if _is_id(event.action) else "bad_action"
    return ""


def _reason_of_undecodable(raw: bytes) -> str:
    """Say which field has the wrong type, or that this is no JSON object at all."""
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "not_json"
    if not isinstance(fields, dict):
        return "not_json"
    for name, kinds in _TYPES.items():
        value = fields.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            return f"bad_{name}"
    return "bad_event_time_ms"  # A whole number, but beyond 64 bits.


_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("event_id", "user_id", "item_id", "action"), str),
    "event_time_ms": int,
    "value": (int, float),
    "request_id": str,
}


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
