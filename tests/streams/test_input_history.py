"""What of a job's inputs retention has taken, as a consumer sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka import TopicPartition

from streams.input_history import history_of
from streams.job import SqlJob

NOW_MS, HOUR_MS = 1_800_000_000_000, 3_600_000


@dataclass(frozen=True)
class _Found:
    offset: int
    timestamp: int


class _Topics:
    """Partitions as (first offset, broker times of the records kept)."""

    def __init__(self, partitions: Mapping[tuple[str, int], tuple[int, list[int]]]) -> None:
        self._partitions = {TopicPartition(*key): value for key, value in partitions.items()}

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return their numbers."""
        return {part.partition for part in self._partitions if part.topic == topic}

    def beginning_offsets(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offsets kept."""
        return {part: self._partitions[part][0] for part in parts}

    def end_offsets(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the next offsets."""
        return {part: self._partitions[part][0] + len(self._partitions[part][1]) for part in parts}

    def offsets_for_times(self, since: Mapping[TopicPartition, int]) -> dict[TopicPartition, _Found | None]:
        """Return the first record at or after a time."""
        found: dict[TopicPartition, _Found | None] = {}
        for part, time_ms in since.items():
            first, times_ms = self._partitions[part]
            late = [_Found(first + place, one) for place, one in enumerate(times_ms) if one >= time_ms]
            found[part] = late[0] if late else None
        return found


def _job(remembers_ms: int = 0) -> SqlJob:
    return SqlJob("job", [], [], [], [], ("in", "served"), ("out",), remembers_ms)


def test_topics_from_their_first_record_on_are_complete() -> None:
    """And a job that has written nothing has no output."""
    topics = _Topics({("in", 0): (0, [NOW_MS]), ("served", 0): (0, []), ("out", 0): (0, [])})
    history = history_of(_job(), topics, NOW_MS)
    assert (history.is_complete, history.has_output) == (True, False)


def test_what_is_gone_is_counted_by_topic_with_the_time_it_ends() -> None:
    """Also a partition that is empty now: everything in it is gone."""
    times = [NOW_MS - HOUR_MS, NOW_MS]
    topics = _Topics({("in", 0): (5, times), ("in", 1): (9, []), ("served", 0): (2, [NOW_MS]), ("out", 0): (0, [1])})
    history = history_of(_job(), topics, NOW_MS)
    assert history.lost == {"in": 14, "served": 2}
    assert (history.kept_from_ms, history.has_output) == (NOW_MS, True)


def test_a_job_that_forgets_needs_only_what_it_remembers() -> None:
    """A record kept from before that time shows that none since then is gone."""
    kept_long = [NOW_MS - 3 * HOUR_MS, NOW_MS]
    topics = _Topics({("in", 0): (5, kept_long), ("in", 1): (9, []), ("served", 0): (0, []), ("out", 0): (0, [1])})
    assert history_of(_job(2 * HOUR_MS), topics, NOW_MS).is_complete
    assert history_of(_job(4 * HOUR_MS), topics, NOW_MS).lost == {"in": 5}
