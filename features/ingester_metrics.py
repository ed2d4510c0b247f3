"""What Prometheus gets of the ingester and of the feature log, which works in the same process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from features.ingester_stats import IngesterStats
from features.metric_families import family, labelled

_COUNTS = {
    "headrace_ingester_records_total": ("records", "Records read."),
    "headrace_ingester_bad_records_total": ("bad_records", "Records that are no row and were left out."),
    "headrace_ingester_retries_total": ("retries", "Writes and claims that the store did not answer."),
}
_LOG = {
    "headrace_feature_log_enabled": ("enabled", "1 where rows are logged."),
    "headrace_feature_log_rows_total": ("rows", "Rows in the journal."),
    "headrace_feature_log_rows_in_files_total": ("rows_in_files", "Rows in parquet files."),
    "headrace_feature_log_unlogged_rows_total": ("unlogged_rows", "Rows written online that no file will hold."),
    "headrace_feature_log_errors_total": ("errors", "Tries to write that failed."),
    "headrace_feature_log_lag_seconds": ("lag_s", "Age of the oldest row that is in no file yet."),
    "headrace_feature_log_waiting_segments": ("segments_waiting", "Segments of the journal that wait for the worker."),
}


class IngesterMetrics(Collector):
    """Tells what the ingester last said of itself.

    Args:
        stats: what it counts.
    """

    def __init__(self, stats: IngesterStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        told = self._stats.last
        for name, (field, text) in _COUNTS.items():
            yield family(name, text, told[field])
        yield labelled("headrace_ingester_rows_total", "Rows written, by feature view.", "view", told["rows"])
        yield labelled("headrace_ingester_lag_records", "Records not read yet, by topic.", "topic", told["lag"])
        is_writing = told["state"] == "ingesting"
        yield family("headrace_ingester_writing", "1 while it writes; 0 on standby or without the store.", is_writing)
        yield self._stats.write_s.metric("headrace_ingester_write_seconds", "From decoded rows to the store's answer.")
        fresh = "From the event's own time until its row of `user_activity` can be read."
        yield self._stats.event_to_feature_s.metric("headrace_ingester_event_to_feature_seconds", fresh)
        for name, (field, text) in _LOG.items():
            yield family(name, text, told["log"].get(field, 0))
