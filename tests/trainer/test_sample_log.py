"""Every gap of a topic is told: retention, truncation, a topic made anew; ranges are read again by offset."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition

from tests.fakes import FakeRecord
from trainer.gaps import RECREATED, RETENTION, TRUNCATED, Gap
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, SampleLog

SAMPLES, ITEMS = TopicPartition(SAMPLES_TOPIC, 0), TopicPartition(ITEMS_TOPIC, 0)
NAME = f"{SAMPLES_TOPIC}:0"


class FakeTopics:
    """A consumer over two topics of one partition, with the ids and the metadata of its cluster.

    Args:
        size: records of the samples topic.
    """

    def __init__(self, size: int) -> None:
        self.records = {part: [_record(part, offset) for offset in range(size)] for part in (SAMPLES, ITEMS)}
        self.ids = {SAMPLES_TOPIC: "id-1", ITEMS_TOPIC: "id-2"}
        self.ends: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._cluster = self

    def connect(self, **_settings: Any) -> FakeTopics:
        """Be the consumer."""
        return self

    def topic_id(self, topic: str) -> str | None:
        """Return the id as of the newest metadata."""
        return self.ids.get(topic)

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the one partition."""
        return {0}

    def assign(self, parts: list[TopicPartition]) -> None:
        """Begin at the beginning."""
        self._positions = dict.fromkeys(parts, 0)

    def pause(self, *parts: TopicPartition) -> None:
        """Read no more of these."""
        self._paused |= set(parts)

    def resume(self, *parts: TopicPartition) -> None:
        """Read these again."""
        self._paused -= set(parts)

    def seek(self, part: TopicPartition, offset: int) -> None:
        """Go on there."""
        self._positions[part] = offset

    def position(self, part: TopicPartition) -> int:
        """Return the next offset."""
        return self._positions[part]

    def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offsets kept."""
        return {part: self.records[part][0].offset if self.records[part] else 0 for part in parts}

    def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the ends."""
        return {part: self.records[part][-1].offset + 1 if self.records[part] else 0 for part in parts}

    def highwater(self, part: TopicPartition) -> int | None:
        """Return the end."""
        return self.end_offsets([part])[part]

    def poll(self, timeout_ms: int = 0) -> dict[TopicPartition, list[FakeRecord]]:
        """Hand out four records a partition; one that is out of range begins anew, as `earliest` says."""
        polled = {}
        for part, position in self._positions.items():
            if part in self._paused:
                continue
            if position > self.end_offsets([part])[part]:
                position = self.beginning_offsets([part])[part]
            found = [record for record in self.records[part] if record.offset >= position][:4]
            if found:
                polled[part] = found
                self._positions[part] = found[-1].offset + 1
        return polled


def _record(part: TopicPartition, offset: int) -> FakeRecord:
    return FakeRecord(part.topic, 0, offset, b"k", f"{part.topic} {offset}".encode())


def opened(topics: FakeTopics) -> SampleLog:
    """A log over fake topics."""
    log = SampleLog("fake:1", 64, connect=topics.connect)
    assert log.find_topics()
    return log


def test_retention_that_passed_the_checkpoint_is_a_gap() -> None:
    """What was deleted before it was read is told by offset and number."""
    topics = FakeTopics(20)
    topics.records[SAMPLES] = topics.records[SAMPLES][12:]
    log = opened(topics)
    assert log.start({NAME: 5}, {})
    assert log.take_gaps() == [Gap(NAME, 5, 12, RETENTION, 7, resume=12)]
    assert log.poll(0)[0].offset == 12


def test_retention_that_overtakes_a_reader_is_a_gap() -> None:
    """The same while it reads; compaction of items is none."""
    topics = FakeTopics(20)
    log = opened(topics)
    log.start({}, {})
    log.poll(0)
    topics.records[SAMPLES] = topics.records[SAMPLES][9:]
    topics.records[ITEMS] = topics.records[ITEMS][9:]
    log.poll(0)
    assert log.take_gaps() == [Gap(NAME, 4, 9, RETENTION, 5, resume=9)]


def test_topic_that_ends_before_the_checkpoint_is_a_gap() -> None:
    """It is read again from its beginning: what is known already changes nothing."""
    log = opened(FakeTopics(3))
    log.start({NAME: 8}, {SAMPLES_TOPIC: "id-1"})
    assert log.take_gaps() == [Gap(NAME, 3, 8, TRUNCATED, resume=0)]
    assert log.poll(0)[0].offset == 0


def test_topic_truncated_under_a_reader_is_a_gap() -> None:
    """A jump back is told."""
    topics = FakeTopics(8)
    log = opened(topics)
    log.start({NAME: 8}, {})
    topics.records[SAMPLES] = topics.records[SAMPLES][:2]
    log.poll(0)
    assert log.take_gaps() == [Gap(NAME, 0, 8, TRUNCATED, resume=0)]


def test_topic_made_anew_is_a_gap_even_where_its_offsets_would_fit() -> None:
    """Another id is another topic: its records at the known offsets are not those that were learnt."""
    log = opened(FakeTopics(20))
    log.start({NAME: 8}, {SAMPLES_TOPIC: "id-0", ITEMS_TOPIC: "id-2"})
    assert log.take_gaps() == [Gap(NAME, 0, 8, RECREATED, resume=0, topic_id="id-1")]
    assert log.poll(0)[0].offset == 0


def test_topic_made_anew_under_a_reader_is_a_gap() -> None:
    """New metadata tells another id: from the beginning, though the position is in range."""
    topics = FakeTopics(20)
    log = opened(topics)
    log.start({}, {})
    log.poll(0)
    topics.ids[SAMPLES_TOPIC] = "id-9"
    assert all(record.topic == ITEMS_TOPIC for record in log.poll(0))
    assert log.take_gaps() == [Gap(NAME, 0, 4, RECREATED, resume=0, topic_id="id-9")]
    assert log.poll(0)[0].offset == 0


def test_ranges_are_read_again_by_offset_and_live_reading_follows() -> None:
    """Ranges of both topics in rising order, then `start` goes where it is told."""
    log = opened(FakeTopics(20))
    ranges = [(NAME, 3, 5), (f"{ITEMS_TOPIC}:0", 7, 13), (NAME, 5, 12)]
    found = [log.read_range(*wanted) or [] for wanted in ranges]
    assert [[record.offset for record in records] for records in found] == [[3, 4], [*range(7, 13)], [*range(5, 12)]]
    log.start({NAME: 12, f"{ITEMS_TOPIC}:0": 13}, {})
    assert {record.offset for record in log.poll(0)} == {12, 13, 14, 15, 16}


def test_range_with_a_hole_is_what_is_left_of_it() -> None:
    """Compaction or retention leave fewer records; the range still ends."""
    topics = FakeTopics(20)
    del topics.records[ITEMS][4:9]
    log = opened(topics)
    assert [record.offset for record in log.read_range(f"{ITEMS_TOPIC}:0", 3, 9) or []] == [3]


def test_range_beyond_the_end_of_the_topic_ends(monkeypatch: Any) -> None:
    """A topic that was cut does not keep a start waiting for ever."""
    monkeypatch.setattr("trainer.sample_log._ASK_END_S", 0.0)
    log = opened(FakeTopics(5))
    assert [record.offset for record in log.read_range(NAME, 3, 9) or []] == [3, 4]
