"""What an upgrade carries over from `.next` topics: the newest rows, and samples and letters that nobody else wrote.

The running job is stopped before the next one, so what the next one wrote in between stands on its own topics only. It
is found by name, not by place: every sample has an id and a kind, every letter the place of its record and a reason.
Twice is no harm, readers take each once; what is older than the switch stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from compose.errors import StackError
from compose.topic_scan import scan_topic
from features.feature_topics import FEATURE_TOPICS
from features.json_records import JsonDecoder
from features.kafka_connection import kafka_settings
from streams.kafka_tables import dead_letters_topic, feature_topic, samples_topic

Record = tuple[bytes | None, bytes | None]
"""Key and value."""
Name = Callable[[Any], tuple[Any, ...]]


class _Sample(msgspec.Struct):
    """As much of a sample as names it."""

    sample_id: str
    kind: str
    broker_time_ms: int = 0


class _Letter(msgspec.Struct):
    """As much of a dead letter as names it."""

    topic: str
    partition: int
    offset: int
    reason: str
    record_time_ms: int = 0


_samples, _letters = JsonDecoder(_Sample), JsonDecoder(_Letter)


def copy_newest_rows(bootstrap: str, suffix: str) -> int:
    """Write the newest row of every key of the job at `suffix` to the topics in use; return how many.

    Raises:
        StackError: Kafka does not take them all.
    """
    count = 0
    for topic in FEATURE_TOPICS:
        newest = {record.key: record.value for record in scan_topic(bootstrap, feature_topic(topic.view, suffix))}
        count += _send(bootstrap, feature_topic(topic.view), newest.items())
    return count


def copy_missing_samples(bootstrap: str, suffix: str, since_ms: int) -> int:
    """Write samples of what came since a broker time that the topic in use lacks; return how many.

    Raises:
        StackError: Kafka does not take them all.
    """
    return _copy_missing(bootstrap, samples_topic(suffix), samples_topic(), since_ms, sample_name)


def copy_missing_letters(bootstrap: str, suffix: str, since_ms: int) -> int:
    """Write dead letters of what came since a broker time that the topic in use lacks; return how many.

    Raises:
        StackError: Kafka does not take them all.
    """
    return _copy_missing(bootstrap, dead_letters_topic(suffix), dead_letters_topic(), since_ms, letter_name)


def missing(there: Iterable[Any], here: Iterable[Any], since_ms: int, name_of: Name) -> list[Record]:
    """Return the records of `there` that `here` lacks; the first element of a name is its broker time."""
    known = {name_of(record) for record in here}
    named = ((name_of(record), record) for record in there)
    # An unreadable record has no name, and is in neither.
    return [(record.key, record.value) for name, record in named if name and name[0] >= since_ms and name not in known]


def _copy_missing(bootstrap: str, there: str, here: str, since_ms: int, name_of: Name) -> int:
    # Nothing is written before what it is about: the topic in use is read from that time on.
    found = missing(scan_topic(bootstrap, there), scan_topic(bootstrap, here, since_ms), since_ms, name_of)
    return _send(bootstrap, here, found)


def sample_name(record: Any) -> tuple[Any, ...]:
    """Return what names a sample; nothing where the record is none."""
    try:
        sample = _samples.decode(record.value or b"")
    except msgspec.DecodeError:
        return ()
    return sample.broker_time_ms, sample.sample_id, sample.kind


def letter_name(record: Any) -> tuple[Any, ...]:
    """Return what names a dead letter; nothing where the record is none."""
    try:
        letter = _letters.decode(record.value or b"")
    except msgspec.DecodeError:
        return ()
    return letter.record_time_ms, letter.topic, letter.partition, letter.offset, letter.reason


def _send(bootstrap: str, topic: str, records: Iterable[Record]) -> int:
    producer = KafkaProducer(**kafka_settings(bootstrap), linger_ms=20)
    try:
        sent = [producer.send(topic, key=key, value=value) for key, value in records]
        for future in sent:
            future.get(60)
        return len(sent)
    except KafkaError as error:
        raise StackError(f"Kafka did not take what was built for {topic}: {error}; run the upgrade again") from error
    finally:
        producer.close()
