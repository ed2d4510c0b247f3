"""Dead letters for tests."""

from __future__ import annotations

import base64
import json
from typing import Any

from compose.dlq_letters import DeadLetter
from headrace_client import EVENTS_TOPIC

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def raw_event(**changes: Any) -> bytes:
    """The bytes of a good event but for the changes; None leaves a field out."""
    event = {"event_id": "e1", "user_id": "ada", "item_id": "tea", "action": "click", "event_time_ms": NOW_MS - 5}
    return json.dumps({name: value for name, value in {**event, **changes}.items() if value is not None}).encode()


def letter(
    raw: bytes | None = None, reason: str = "unknown_action", topic: str = EVENTS_TOPIC, offset: int = 7, **event: Any
) -> DeadLetter:
    """A dead letter of a record."""
    return DeadLetter(raw_event(**event) if raw is None else raw, topic, 2, offset, reason, NOW_MS)


def letter_json(one: DeadLetter) -> bytes:
    """A dead letter as the job writes it."""
    fields = {"topic": one.topic, "partition": one.partition, "offset": one.offset, "reason": one.reason}
    raw = base64.b64encode(one.raw).decode()
    return json.dumps({"raw": raw, **fields, "record_time_ms": one.record_time_ms}).encode()
