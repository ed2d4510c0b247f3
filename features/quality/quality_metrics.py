"""What Prometheus gets of the quality job."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from features.metric_families import family, labelled
from features.quality.quality_stats import QualityStats


class QualityMetrics(Collector):
    """Tells what the quality job last said of itself.

    Args:
        stats: what it counts.
    """

    def __init__(self, stats: QualityStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        told = self._stats.last
        yield family("headrace_quality_records_total", "Events and dead letters of closed windows.", told["records"])
        yield labelled("headrace_quality_windows_total", "Windows closed, by state.", "state", told["windows"])
        letters = dict(self._stats.dead_letters)
        yield labelled("headrace_quality_dead_letters_total", "Of closed windows, by reason code.", "reason", letters)
        yield family("headrace_quality_held_windows", "Windows held from training now.", told["held_windows"])
        yield family("headrace_quality_lag_records", "Records not read yet.", told["lag"])
        started_s = told["last_window_start_ms"] / 1000.0
        text = "Unix time at which the newest closed window began; 0 for none."
        yield family("headrace_quality_last_window_start_timestamp_seconds", text, started_s)
