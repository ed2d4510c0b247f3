"""Dead letters of one user taken out of `headrace.events.dlq.v1`.

A log cannot lose single records: the letters of everybody else are written once more, and what was there before is
deleted. Readers know letters by the record that they are of, so one that stands there twice is one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from compose.data_orders import send_records
from compose.dlq_letters import DEAD_LETTERS_TOPIC, decode_letter
from compose.errors import StackNotRunningError
from compose.topic_scan import scan_topic
from features.json_records import JsonDecoder
from features.kafka_connection import kafka_settings

_TIMEOUT_MS = 10_000


class _Sent(msgspec.Struct):
    user_id: str


_decoder = JsonDecoder(_Sent)


def is_of_user(raw: bytes, user_id: str) -> bool:
    """Say whether a record that could not be used names a user: as its user_id, or anywhere where it cannot be read."""
    try:
        return _decoder.decode(raw).user_id == user_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # As an id stands in JSON, written either way; a shorter id within a longer one is no match.
        return any(form in raw for form in (msgspec.json.encode(user_id), b'"%b"' % user_id.encode()))


def forget_letters(bootstrap: str, user_id: str) -> int:
    """Delete the letters of a user; return how many.

    Raises:
        StackError: Kafka does not answer.
    """
    records = list(scan_topic(bootstrap, DEAD_LETTERS_TOPIC))
    theirs = [record for record in records if _is_theirs(record, user_id)]
    if not theirs:
        return 0
    last: dict[Any, int] = {}
    for record in theirs:
        part = TopicPartition(DEAD_LETTERS_TOPIC, record.partition)
        last[part] = max(record.offset + 1, last.get(part, 0))
    moved = [
        (record.key, record.value)
        for record in records
        if record.offset < last.get(TopicPartition(DEAD_LETTERS_TOPIC, record.partition), 0)
        and not _is_theirs(record, user_id)
    ]
    send_records(bootstrap, DEAD_LETTERS_TOPIC, moved)
    _delete_before(bootstrap, last)
    return len(theirs)


def _is_theirs(record: Any, user_id: str) -> bool:
    letter = decode_letter(record.value)
    return letter is not None and is_of_user(letter.raw, user_id)


def _delete_before(bootstrap: str, offsets: dict[Any, int]) -> None:
    try:
        admin = KafkaAdminClient(**kafka_settings(bootstrap), request_timeout_ms=_TIMEOUT_MS)
        try:
            admin.delete_records(offsets, timeout_ms=_TIMEOUT_MS)
        finally:
            admin.close()
    except KafkaError as error:
        raise StackNotRunningError(
            f"Kafka at {bootstrap} did not delete the letters ({error}); run the command again"
        ) from error
