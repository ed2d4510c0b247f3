"""Tails begin near the end, pass over what is too much, and go on where they stopped."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from kafka import TopicPartition

from compose.dashboard.topic_tail import Tailed, TopicTail
from tests.fakes import FakeBroker, FakeConsumer, FakeRecord


class TailConsumer(FakeConsumer):
    """A fake consumer that also tells what it reads and where logs begin."""

    def assignment(self) -> set[TopicPartition]:
        """Return what is read."""
        return set(self._positions)

    def assign(self, partitions: Any) -> None:
        """Read these too, and go on with those that were read."""
        self._positions = {part: self._positions.get(part, 0) for part in partitions}

    def beginning_offsets(self, partitions: Any) -> dict[TopicPartition, int]:
        """Return zeros."""
        return dict.fromkeys(partitions, 0)


class Tails:
    """A tail over fake topics, read step by step."""

    def __init__(self, records: int) -> None:
        self.broker = FakeBroker(["live", "whole"])
        for topic in ("live", "whole"):
            self.write(topic, records)
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.tail = TopicTail(
            self.broker.connect,
            [Tailed("live", self.take, most=10), Tailed("whole", self.take, is_whole=True)],
        )

    def write(self, topic: str, records: int) -> None:
        """Add records to a topic."""
        for _ in range(records):
            self.broker.append(topic, None, b"")

    def take(self, record: FakeRecord) -> None:
        """Note an offset."""
        self.taken[record.topic].append(record.offset)

    def look(self, consumer: TailConsumer) -> None:
        """Do what the thread does every two seconds, then read."""
        self.tail._assign(consumer)
        self.tail._pass_over(consumer)
        self.tail.read_once(consumer)


def test_a_live_topic_is_read_from_near_its_end_and_a_small_one_whole() -> None:
    """Nobody waits for a day of events to be read."""
    tails = Tails(records=100)
    tails.look(TailConsumer(tails.broker))
    assert (tails.taken["live"], tails.taken["whole"]) == ([95, 96, 97, 98, 99], list(range(100)))


def test_what_is_too_much_is_passed_over_and_counted() -> None:
    """The newest half of what may wait is read."""
    tails = Tails(records=0)
    consumer = TailConsumer(tails.broker)
    tails.look(consumer)
    tails.write("live", 50)
    tails.look(consumer)
    assert (tails.taken["live"], tails.tail.passed_over) == ([45, 46, 47, 48, 49], 45)


def test_a_new_connection_goes_on_where_the_last_one_stopped() -> None:
    """Nothing is taken twice."""
    tails = Tails(records=4)
    tails.look(TailConsumer(tails.broker))
    tails.write("live", 2)
    tails.look(TailConsumer(tails.broker))
    assert tails.taken["whole"] == [0, 1, 2, 3]
    assert tails.taken["live"] == [0, 1, 2, 3, 4, 5]


def test_what_was_written_is_told_whether_it_is_read_or_not() -> None:
    """Events a second are those of the topic."""
    tails = Tails(records=30)
    tails.look(TailConsumer(tails.broker))
    assert tails.tail.written == {"live": 30}
