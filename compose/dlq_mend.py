"""A dead letter becomes a record that can be sent again, or the reason why it cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compose.dlq_letters import DeadLetter, DlqUsageError
from features.config import AppConfig, nearest_name
from headrace_client import EVENTS_TOPIC, HISTORY_TOPIC, InvalidRecordError
from headrace_client.records import MAX_RECORD_BYTES, check_id

_ID_FIELDS = ("event_id", "user_id", "item_id", "action")
_TEXT_FIELDS = (*_ID_FIELDS, "request_id", "request_token", "session_id")
_FIELDS = (*_TEXT_FIELDS, "event_time_ms", "value")
_UNPROVEN = "bad_token"
_COUNTED = {
    "unknown_request": "the event has counted, only the list that it names was never served",
    "after_horizon": "the event has counted, it only came too late for its list",
}
"""Reasons of events that features and organic learning have used: once their id is forgotten they would count twice."""
_HOUR_MS = 3_600_000
_MAX_DEPTH = 16


@dataclass(frozen=True)
class Mend:
    """Changes to the JSON of a record."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Field, or `context.NAME`, and its new value."""
    actions: Mapping[str, str] = field(default_factory=dict)
    """Old and new action."""

    def apply(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mended event."""
        mended = dict(event)
        for name, value in self.fields.items():
            if name.startswith("context."):
                context = mended.get("context")
                mended["context"] = {**(context if isinstance(context, dict) else {}), name[8:]: value}
            else:
                mended[name] = value
        action = mended.get("action")
        if isinstance(action, str) and action in self.actions:
            mended["action"] = self.actions[action]
        return mended


@dataclass(frozen=True, slots=True)
class Resend:
    """A record to be sent."""

    topic: str
    key: bytes | None
    value: bytes
    event_id: str


@dataclass(frozen=True, slots=True)
class Left:
    """A letter that stays where it is."""

    code: str
    """Counted by it."""
    why: str


@dataclass(frozen=True)
class ReplayRules:
    """What decides whether a letter may be sent."""

    app: AppConfig
    now_ms: int
    mend: Mend = field(default_factory=Mend)
    as_history: bool = False
    """Send to the backfill topic, which has no age limit."""
    is_forced: bool = False


def parse_mend(sets: Sequence[str], renames: Sequence[str], app: AppConfig, num_letters: int = 0) -> Mend:
    """Read `--set FIELD=VALUE` and `--rename-action OLD=NEW`.

    Args:
        sets: fields.
        renames: actions.
        app: what is declared.
        num_letters: letters asked for by name.

    Raises:
        DlqUsageError: one of them cannot be used.
    """
    fields = dict(_parse_field(text) for text in sets)
    if "event_id" in fields and num_letters != 1:
        raise DlqUsageError(
            "--set event_id would make one event of all records, and only the first would count; "
            "name one record with --letter, or leave it out: a record without an id gets its place as one"
        )
    actions = {}
    for text in renames:
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise DlqUsageError(f"--rename-action must be OLD=NEW, not {text!r}")
        actions[old] = new
    for new in [*actions.values(), *([fields["action"]] if "action" in fields else [])]:
        if new not in app.actions:
            raise DlqUsageError(
                f"action {new!r} is not declared in headrace.yaml{nearest_name(new, tuple(app.actions))}"
            )
    return Mend(fields, actions)


def prepare(letter: DeadLetter, rules: ReplayRules) -> Resend | Left:
    """Decide about one letter.

    A record without a usable `event_id` gets its place in Kafka as one, so that sent twice it counts once.
    """
    if letter.topic not in (EVENTS_TOPIC, HISTORY_TOPIC):
        return Left("foreign_topic", f"{letter.topic} is no topic of events")
    if letter.reason == "too_large":
        return Left("too_large", "only the beginning of the record was kept; send it again from its source")
    if letter.reason in _COUNTED and not rules.is_forced:
        return Left(letter.reason, f"{_COUNTED[letter.reason]}; --force sends it all the same")
    if letter.reason == _UNPROVEN and not rules.is_forced:
        return Left(letter.reason, "nothing proves that its user was shown its item; --force sends it all the same")
    topic = HISTORY_TOPIC if rules.as_history else letter.topic
    event = _json_object(letter.raw)
    if event is None:
        if rules.is_forced:
            return Resend(topic, None, letter.raw, "")
        return Left("not_json", "no mend can make JSON of it; --force sends the bytes as they are")
    mended = _with_event_id(rules.mend.apply(event), letter)
    problem = problem_of(mended, rules.app)
    if problem and not rules.is_forced:
        return Left(f"still {problem}", "it would come back; mend it with --set or --rename-action, or headrace.yaml")
    if topic == EVENTS_TOPIC and not rules.is_forced and _is_too_old(mended, rules):
        return Left(
            "too_old", f"older than {rules.app.features.horizon_h:g} h by now; --as-history sends it as history"
        )
    value = _encoded(mended)
    if value is None or value == _encoded(event):  # Comparing the objects would take true for 1.
        value = letter.raw
    if len(value) > MAX_RECORD_BYTES:
        return Left(
            "still too_large", f"with its mend it is larger than {MAX_RECORD_BYTES} bytes, and Kafka refuses it"
        )
    return Resend(topic, _key_of(mended), value, str(mended["event_id"]))


def problem_of(event: Mapping[str, Any], app: AppConfig) -> str:
    """Return the reason code that the streaming job would give this event, empty where it takes it.

    Age and size are not judged here.
    """
    if _is_deeper(event, _MAX_DEPTH):
        return "too_deep"
    for name in _ID_FIELDS:
        if event.get(name) is None:
            return f"missing_{name}"
        if not _is_id(event[name]):
            return f"bad_{name}"
    if event.get("event_time_ms") is None:
        return "missing_event_time_ms"
    if not _is_whole(event["event_time_ms"]) or not 0 < event["event_time_ms"] < 10**18:
        return "bad_event_time_ms"
    value = event.get("value")
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool) or not _is_finite(value)):
        return "bad_value"
    if event.get("request_id") not in (None, "") and not _is_id(event["request_id"]):
        return "bad_request_id"
    if not isinstance(event.get("context", {}), (dict, type(None))):
        return "bad_context"
    return "" if event["action"] in app.actions else "unknown_action"


def _parse_field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise DlqUsageError(f"--set must be FIELD=VALUE, not {text!r}")
    if name in _TEXT_FIELDS or (name.startswith("context.") and len(name) > 8):
        return name, value
    if name not in _FIELDS:
        raise DlqUsageError(f"--set: unknown field {name!r}{nearest_name(name, (*_FIELDS, 'context.NAME'))}")
    try:
        number = json.loads(value)
    except json.JSONDecodeError:
        number = None
    is_good = _is_whole(number) if name == "event_time_ms" else isinstance(number, (int, float)) and _is_finite(number)
    if not is_good or isinstance(number, bool):
        wanted = "whole milliseconds since 1970" if name == "event_time_ms" else "a number"
        raise DlqUsageError(f"--set {name} must be {wanted}, not {value!r}")
    return name, number


def _json_object(raw: bytes) -> dict[str, Any] | None:
    """Read what the job reads: numbers beyond all bounds and halves of characters too, which a mend may replace."""
    try:
        event = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _encoded(event: Mapping[str, Any]) -> bytes | None:
    """Return the JSON of an event, None where it holds what JSON cannot."""
    try:
        return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return None


def _with_event_id(event: dict[str, Any], letter: DeadLetter) -> dict[str, Any]:
    return event if _is_id(event.get("event_id")) else {**event, "event_id": letter.letter_id}


def _is_too_old(event: Mapping[str, Any], rules: ReplayRules) -> bool:
    time_ms: Any = event.get("event_time_ms")
    return _is_whole(time_ms) and time_ms < rules.now_ms - rules.app.features.horizon_h * _HOUR_MS


def _is_deeper(value: Any, levels: int) -> bool:
    """Say whether objects and lists nest deeper than `levels`."""
    if not isinstance(value, (Mapping, list)):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _key_of(event: Mapping[str, Any]) -> bytes | None:
    user_id: Any = event.get("user_id")
    return user_id.encode() if _is_id(user_id) else None


def _is_id(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        check_id("id", value)
    except InvalidRecordError:
        return False
    return True


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
