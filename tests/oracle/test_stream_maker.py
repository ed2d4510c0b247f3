"""The streams are what they say: seeded, ten times doubled, late, a hundredth garbage."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

from tests.oracle.stream_maker import COPIES, EVENTS, EVENTS_COUNT, HOUR_MS, PARTITIONS, make_stream

NOW_MS = 1_790_000_000_000


def test_a_seed_is_one_stream() -> None:
    """The same seed makes the same records; another one does not."""
    first, again, other = (make_stream(seed, "run", NOW_MS).steps for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_event_comes_ten_times() -> None:
    """In one partition, so that its first copy is the same to all readers."""
    steps = [step for step in make_stream(3, "run", NOW_MS).steps if step.topic == EVENTS and not step.is_garbage]
    copies = Counter(json.loads(step.value or b"")["event_id"] for step in steps)
    assert set(copies.values()) == {COPIES}
    assert len(copies) == EVENTS_COUNT
    assert len({(step.key, step.partition) for step in steps}) == len({step.key for step in steps})


def test_a_stream_is_late_reordered_and_dirty() -> None:
    """Ages reach beyond the horizon, times go back and forth, all partitions are used, one record in 100 is garbage."""
    steps = make_stream(4, "run", NOW_MS).steps
    events = [json.loads(step.value or b"") for step in steps if step.topic == EVENTS and not step.is_garbage]
    ages_ms = [NOW_MS - event["event_time_ms"] for event in events]
    assert max(ages_ms) > 24 * HOUR_MS > sorted(ages_ms)[len(ages_ms) * 3 // 4]
    assert min(ages_ms) < 0
    assert sum(later > age for age, later in pairwise(ages_ms)) > len(events) / 4
    assert {step.partition for step in steps} == set(range(PARTITIONS))
    assert 0.008 < sum(step.is_garbage for step in steps) / len(steps) < 0.012
