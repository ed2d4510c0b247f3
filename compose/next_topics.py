"""The `.next` topics of an upgrade, and how far a job has read: what `streams_upgrade` asks of Kafka."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import GroupIdNotFoundError, KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from compose.errors import StackError
from compose.topics import TopicSpec
from features.kafka_connection import kafka_settings

_WAIT_S = 30.0
_PAUSE_S = 0.2


class NextTopics:
    """Topics that come and go with one upgrade.

    Args:
        bootstrap: Kafka's servers.
        names: their names.
    """

    def __init__(self, bootstrap: str, names: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._names = tuple(names)

    def create(self) -> None:
        """Create them with the settings of the topics whose place they take.

        Raises:
            StackError: Kafka does not do it.
        """
        # Dead letters have no key, which a compacted topic refuses.
        specs = [TopicSpec(name, is_compacted=name.startswith("headrace.features.")) for name in self._names]
        new = [NewTopic(spec.name, spec.partitions, 1, topic_configs=spec.settings()) for spec in specs]
        with contextlib.suppress(TopicAlreadyExistsError):  # Made by a try whose answer was lost.
            self._ask(lambda admin: admin.create_topics(new, timeout_ms=10_000))

    def delete(self) -> None:
        """Delete those that exist and wait until they are gone.

        Raises:
            StackError: Kafka does not do it.
        """
        existing = [name for name in self._ask(lambda admin: admin.list_topics()) if name in self._names]
        if not existing:
            return
        try:
            self._ask(lambda admin: admin.delete_topics(existing, timeout_ms=10_000))
        except UnknownTopicOrPartitionError:
            return
        deadline = time.monotonic() + _WAIT_S
        while set(self._ask(lambda admin: admin.list_topics())) & set(existing):
            if time.monotonic() > deadline:
                raise StackError(f"Kafka still lists {existing[0]} {_WAIT_S:g} s after it was deleted; try again")
            time.sleep(0.1)

    def bounds(self, topics: Sequence[str]) -> tuple[Mapping[TopicPartition, int], Mapping[TopicPartition, int]]:
        """Return first and next offset of every partition of `topics`."""
        consumer: Any = KafkaConsumer(**kafka_settings(self._bootstrap), enable_auto_commit=False)
        try:
            parts = [TopicPartition(t, number) for t in topics for number in consumer.partitions_for_topic(t) or ()]
            return consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        except KafkaError as error:
            raise StackError(f"Kafka at {self._bootstrap} does not answer: {error}") from error
        finally:
            consumer.close()

    def committed(
        self, group: str, beginnings: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> int:
        """Return how many of the records between a group has behind it; Flink commits with its checkpoints."""
        offsets: Mapping[Any, Any] = self._ask(lambda admin: admin.list_group_offsets({group: list(ends)}))
        found = offsets.get(group, offsets)
        return num_read(beginnings, ends, {part: _offset(found.get(part)) for part in ends})

    def forget(self, group: str) -> None:
        """Forget how far a group has read: what an abandoned upgrade committed says nothing of the next one."""
        try:
            self._ask(lambda admin: admin.delete_groups([group]))
        except GroupIdNotFoundError:
            return

    def _ask(self, question: Any) -> Any:
        """Ask, and again while the broker says that it may yet answer: an upgrade of an hour must not end for a moment.

        Raises:
            StackError: Kafka refuses, or does not answer within `_WAIT_S`.
        """
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                return self._ask_once(question)
            except (UnknownTopicOrPartitionError, GroupIdNotFoundError, TopicAlreadyExistsError):
                raise
            except KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise StackError(f"Kafka at {self._bootstrap} refuses: {error}") from error
            time.sleep(_PAUSE_S)

    def _ask_once(self, question: Any) -> Any:
        admin = KafkaAdminClient(**kafka_settings(self._bootstrap), request_timeout_ms=10_000)
        try:
            return question(admin)
        finally:
            admin.close()


def num_records(beginnings: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
    """Return how many records lie between; a partition that retention has emptied has none."""
    return num_read(beginnings, ends, ends)


def num_read(
    beginnings: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], offsets: Mapping[TopicPartition, int]
) -> int:
    """Return how many of the records between lie before `offsets`; nothing is committed of an emptied partition."""
    return sum(min(max(offsets[part] - beginnings[part], 0), end - beginnings[part]) for part, end in ends.items())


def _offset(found: Any) -> int:
    """Return the offset of an answer that may be a number, an object with one, or nothing."""
    if found is None:
        return 0
    return int(getattr(found, "offset", found))
