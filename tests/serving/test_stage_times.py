"""What Prometheus scrapes of requests."""

from __future__ import annotations

from prometheus_client import generate_latest

from serving.stage_times import StageTimes


def test_degraded_answers_are_counted_by_reason_and_nothing_else_is_told_of_them() -> None:
    """No family beside the one that docs/metrics.md lists, such as the times at which counters were made."""
    times = StageTimes()
    for reasons in ((), ("ranker_failed",), ("ranker_failed", "items_not_current")):
        times.count_answer(reasons)
    told = [line for line in generate_latest(times.registry).decode().splitlines() if "degraded" in line]
    assert [line for line in told if not line.startswith("#")] == [
        'headrace_serving_degraded_total{reason="ranker_failed"} 2.0',
        'headrace_serving_degraded_total{reason="items_not_current"} 1.0',
    ]
    assert "headrace_serving_requests_total 3.0" in generate_latest(times.registry).decode()
