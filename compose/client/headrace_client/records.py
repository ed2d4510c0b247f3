"""Events and items as they travel: JSON of `protos/events.proto`, key = user_id or item_id."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self

from headrace_client.errors import InvalidRecordError

EVENTS_TOPIC = "headrace.events.v1"
HISTORY_TOPIC = "headrace.events.backfill.v1"
"""Events of the past: no age limit."""
ITEMS_TOPIC = "headrace.items.v1"
MAX_ID_BYTES = 128
MAX_RECORD_BYTES = 60 * 1024
"""The topics take 64 KiB with key and headers."""
_LATEST_MS = 10**18
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class ShownAnswer(Protocol):
    """What an event needs of the answer that it reacts to: `RecommendResponse`, or what an app kept of it."""

    @property
    def request_id(self) -> str:
        """Names the answer."""

    @property
    def request_token(self) -> str:
        """Proves what it showed; empty where the server does not sign."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing a user did."""

    user_id: str
    item_id: str
    action: str
    """One of the actions declared in `headrace.yaml`."""
    value: float | None = None
    """Rating, dwell seconds or price, by action."""
    request_id: str = ""
    """Of the answer this reacts to, where there is one."""
    session_id: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    event_id: str = ""
    """Unique; filled in when empty. The same id sent twice counts once."""
    event_time_ms: int = 0
    """Filled in with now when 0."""
    request_token: str = ""
    """Of the same answer, where the server signs them: feedback without it does not count then."""

    @classmethod
    def in_answer_to(
        cls, answer: ShownAnswer, user_id: str, item_id: str, action: str, value: float | None = None
    ) -> Self:
        """Make the event of a user who was shown this answer, with its request_id and its token."""
        return cls(user_id, item_id, action, value, request_id=answer.request_id, request_token=answer.request_token)


@dataclass(frozen=True, slots=True)
class Item:
    """The current state of one item."""

    item_id: str
    title: str = ""
    categories: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_available: bool = True
    published_time_ms: int = 0
    """0 means unknown."""
    expires_time_ms: int = 0
    """0 means never."""


_EVENT_FIELDS = tuple(part.name for part in fields(Event) if part.name != "context")


def complete_event(event: Event) -> Event:
    """Fill in what the app left open."""
    return replace(
        event,
        event_id=event.event_id or uuid.uuid4().hex,
        event_time_ms=event.event_time_ms or time.time_ns() // 1_000_000,
    )


def encode_event(event: Event) -> tuple[bytes, bytes]:
    """Return key and value of a completed event.

    Raises:
        InvalidRecordError: a field breaks a limit.
    """
    for name in ("user_id", "item_id", "action", "event_id"):
        check_id(name, getattr(event, name))
    if event.request_id != "":
        check_id("request_id", event.request_id)
    for name in ("session_id", "request_token"):
        _check_type(name, getattr(event, name), str, "text")
    _check_texts("context", event.context)
    if event.value is not None:
        _check_type("value", event.value, (int, float), "a number or None")
        if not _is_finite(event.value):
            raise InvalidRecordError(f"value must be a finite number or None, not {event.value!r:.60}")
    _check_type("event_time_ms", event.event_time_ms, int, "whole milliseconds since 1970")
    if not 0 < event.event_time_ms < _LATEST_MS:
        raise InvalidRecordError(f"event_time_ms must be milliseconds since 1970, not {event.event_time_ms}")
    fields = {name: getattr(event, name) for name in _EVENT_FIELDS}
    present = {name: value for name, value in fields.items() if value not in (None, "")}
    if event.context:
        present["context"] = dict(event.context)
    return event.user_id.encode(), _encode(present)


def encode_item(item: Item) -> tuple[bytes, bytes]:
    """Return key and value of an item.

    Raises:
        InvalidRecordError: a field breaks a limit.
    """
    check_id("item_id", item.item_id)
    _check_type("title", item.title, str, "text")
    if isinstance(item.categories, str):  # A text is a sequence too: of its letters.
        raise InvalidRecordError(f"categories must be a list of names, not the text {item.categories!r:.60}")
    _check_type("categories", item.categories, Sequence, "a list of names")
    for name in item.categories:
        check_id("categories: a name", name)
    _check_texts("attributes", item.attributes)
    if not isinstance(item.is_available, bool):
        raise InvalidRecordError(f"is_available must be True or False, not {item.is_available!r:.60}")
    for name in ("published_time_ms", "expires_time_ms"):
        time_ms = getattr(item, name)
        _check_type(name, time_ms, int, "whole milliseconds since 1970, 0 where there is none")
        if not -_LATEST_MS < time_ms < _LATEST_MS:
            raise InvalidRecordError(f"{name} must be milliseconds since 1970, not {time_ms}")
    fields = {
        "item_id": item.item_id,
        "title": item.title,
        "categories": list(item.categories),
        "attributes": dict(item.attributes),
        "is_available": item.is_available,
        "published_time_ms": item.published_time_ms,
        "expires_time_ms": item.expires_time_ms,
    }
    return item.item_id.encode(), _encode(fields)


def check_id(name: str, text: str) -> None:
    """Hold an id to 1-128 bytes of UTF-8 without control characters.

    Raises:
        InvalidRecordError: it is anything else.
    """
    _check_type(name, text, str, "text")
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRecordError(f"{name} is not valid text: {error}") from error
    if not 1 <= length <= MAX_ID_BYTES:
        raise InvalidRecordError(f"{name} must have 1-{MAX_ID_BYTES} bytes, not {length}: {text[:40]!r}")
    if _CONTROL.search(text):
        raise InvalidRecordError(f"{name} must not contain control characters: {text!r}")


def _check_texts(name: str, texts: object) -> None:
    _check_type(name, texts, Mapping, "a mapping of text")
    assert isinstance(texts, Mapping)
    for each in (part for pair in texts.items() for part in pair):
        _check_type(name, each, str, "a mapping of text")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number beyond all doubles.
        return False


def _check_type(name: str, value: object, wanted: type | tuple[type, ...], called: str) -> None:
    """Hold a value to a type; a truth value is no number."""
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise InvalidRecordError(f"{name} must be {called}, not {value!r:.60}")


def _encode(fields: Mapping[str, Any]) -> bytes:
    try:
        value = _ENCODER.encode(fields).encode()
    except UnicodeEncodeError as error:
        raise InvalidRecordError(f"a text in the record is not valid: {error}") from error
    if len(value) > MAX_RECORD_BYTES:
        raise InvalidRecordError(f"a record must stay below {MAX_RECORD_BYTES} bytes, this one has {len(value)}")
    return value
