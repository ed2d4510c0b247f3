"""Stages of the loop's freshness, from notes that come in any order."""

from __future__ import annotations

import pytest

from tests.bench.loop_times import STAGES, LoopTimes, Published, SampleAt

PART = "samples:0"


def books() -> LoopTimes:
    """Three versions, of which the second was never answered with; three events, the last one learnt by nobody."""
    times = LoopTimes()
    times.served_s |= {"1.3": 9.0, "1.1": 2.0}
    times.published |= {
        "1.3": Published({PART: 30}, 8.0),
        "1.1": Published({PART: 10}, 1.0),
        "1.2": Published({PART: 20}, 5.0),
    }
    times.samples |= {"old": SampleAt(PART, 9, 0.7), "new": SampleAt(PART, 10, 3.0), "open": SampleAt(PART, 30, 8.5)}
    times.acked_s |= {"old": 0.5, "new": 2.5, "open": 8.25}
    return times


def test_each_stage_ends_with_the_first_version_that_covers_the_sample() -> None:
    """A version that was skipped by the server still ended the wait for its delta."""
    stages = books().stages_ms()
    assert [stages[stage] for stage in STAGES] == [
        pytest.approx([200.0, 500.0]),
        pytest.approx([300.0, 2000.0]),
        pytest.approx([1000.0, 4000.0]),
        pytest.approx([1500.0, 6500.0]),
    ]


def test_an_event_without_answer_or_acknowledgement_is_not_timed() -> None:
    """The bench counts it as open."""
    times = books()
    assert len(times.stages_ms()[STAGES[-1]]) == 2
    del times.acked_s["old"]
    assert len(times.stages_ms()[STAGES[-1]]) == 1
