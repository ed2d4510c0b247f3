"""What Prometheus gets of the trainer, at its port and in `STATE/trainer.prom`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.durations import FRESHNESS_S, Durations
from features.metric_families import family
from trainer.sample_log import LogRecord
from trainer.samples import Sample

Content = Mapping[str, Any]
"""What `STATE/trainer.json` says."""

_TOLD: Mapping[str, tuple[str, Callable[[Content], float]]] = {
    "headrace_trainer_gaps_total": ("Ranges of offsets that topics lacked.", lambda content: content["gaps"]["count"]),
    "headrace_trainer_lost_records_total": (
        "Records that were gone before they could be learnt.",
        lambda content: content["gaps"]["lost"],
    ),
    "headrace_trainer_checkpoint_age_seconds": (
        "Since the newest checkpoint; -1 where this start has written none.",
        lambda content: content["checkpoints"]["age_s"],
    ),
    "headrace_trainer_failed_checkpoints_total": (
        "Checkpoints that the disk refused.",
        lambda content: content["checkpoints"]["failed"],
    ),
    "headrace_trainer_refused_checkpoints_total": (
        "Bad checkpoints that were not resumed from.",
        lambda content: len(content["checkpoints"]["refused"]),
    ),
    "headrace_trainer_batch_log_unwritten": (
        "1 where the batch log cannot be written.",
        lambda content: int(bool(content["batch_log"]["write_error"])),
    ),
    "headrace_trainer_batch_log_damaged": (
        "1 where this start could not follow the log to its end.",
        lambda content: int(bool(content["batch_log"]["damage"])),
    ),
    "headrace_trainer_replay_inexact": (
        "1 where records of the log to repeat were gone or others.",
        lambda content: int(not content["replay"]["is_exact"]),
    ),
    "headrace_trainer_too_old_samples_total": (
        "Samples of which nobody knows any more whether they were learnt.",
        lambda content: content["progress"]["refused"].get("too_old", 0),
    ),
    "headrace_trainer_non_finite_steps_total": (
        "Steps that were not taken; STATE/trainer/refused_batches keeps them.",
        lambda content: content["progress"]["non_finite_steps"],
    ),
    "headrace_trainer_clipped_steps_total": (
        "Steps whose update was made smaller.",
        lambda content: content["progress"]["clipped_steps"],
    ),
    "headrace_trainer_capped_samples_total": (
        "Samples that taught nothing, as their user had taught enough.",
        lambda content: content["progress"]["capped"],
    ),
    "headrace_trainer_deltas_total": ("Deltas sent.", lambda content: content["publishing"]["deltas"]),
    "headrace_trainer_delta_bytes_total": (
        "Bytes of these deltas, uncompressed.",
        lambda content: content["publishing"]["total_delta_bytes"],
    ),
    "headrace_trainer_delta_seconds": (
        "From the newest delta's cut to the broker's word.",
        lambda content: content["publishing"]["delta_ms"] / 1000.0,
    ),
    "headrace_trainer_snapshots_total": ("Snapshots written.", lambda content: content["publishing"]["snapshots"]),
    "headrace_trainer_snapshot_bytes": (
        "Of the newest snapshot.",
        lambda content: content["publishing"]["snapshot_bytes"],
    ),
    "headrace_trainer_held_versions_total": (
        "Versions that the gate held.",
        lambda content: content["publishing"]["held"],
    ),
    "headrace_trainer_gate_held": (
        "1 while a version is held and nothing is published; STATE/trainer.json says why.",
        lambda content: int(content["gate"]["state"] == "HELD"),
    ),
    "headrace_trainer_store_failures_total": (
        "Snapshots that the model store did not take.",
        lambda content: content["publishing"]["store_failed"],
    ),
    "headrace_trainer_store_away": (
        "1 while the newest snapshot could not be written; STATE/trainer.json says why.",
        lambda content: int(bool(content["publishing"]["store_error"])),
    ),
    "headrace_trainer_failed_publishes_total": (
        "Tries to write or send a version that ended in an error.",
        lambda content: content["publishing"]["failed"],
    ),
    "headrace_trainer_unsent": ("1 where a version waits for Kafka.", lambda content: int(not content["is_announced"])),
    "headrace_trainer_lag_samples": ("Samples that wait.", lambda content: content["lag_samples"]),
    "headrace_trainer_samples_total": ("Samples taken.", lambda content: content["progress"]["samples"]),
    "headrace_trainer_user_rows": (
        "Users with an embedding row of their own.",
        lambda content: content["user_rows"]["rows"],
    ),
    "headrace_trainer_waiting_users": (
        "Users seen of late that must still earn their row; an estimate.",
        lambda content: content["user_rows"]["waiting"],
    ),
    "headrace_trainer_admitted_users_total": (
        "Users that got a row.",
        lambda content: content["user_rows"]["admitted"],
    ),
    "headrace_trainer_expired_users_total": (
        "Rows that went because their user stayed away.",
        lambda content: content["user_rows"]["expired"],
    ),
    "headrace_trainer_evicted_users_total": (
        "Rows that went because the table was full.",
        lambda content: content["user_rows"]["evicted"],
    ),
}
"""Name -> meaning, and where the value stands."""


class TrainerMetrics(Collector):
    """Tells what the status file says, and how old events are when samples of them come and are learnt."""

    def __init__(self) -> None:
        self.content: Content = {}
        """As of the last second; whole when it is set, never changed."""
        self._event_to_sample = Durations(FRESHNESS_S)
        self._event_to_weights = Durations(FRESHNESS_S)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def note_learnt(self, batch: Iterable[LogRecord]) -> None:
        """Take in the events of a micro-batch that has just been learnt."""
        now_ms = time.time_ns() // 1_000_000
        times_ms = [
            (record.timestamp_ms, record.decoded.broker_time_ms)
            for record in batch
            if isinstance(record.decoded, Sample) and record.decoded.broker_time_ms
        ]
        self._event_to_sample.add_many([max(0, sample_ms - event_ms) / 1000.0 for sample_ms, event_ms in times_ms])
        self._event_to_weights.add_many([max(0, now_ms - event_ms) / 1000.0 for _, event_ms in times_ms])

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes; nothing but the histograms before the trainer has started."""
        content = self.content
        for name, (text, value_of) in _TOLD.items():
            if content:
                yield family(name, text, value_of(content))
        yield _rolling(content.get("metrics", {}))
        told = "From Kafka's time of an event until a sample of it was in Kafka."
        yield self._event_to_sample.metric("headrace_trainer_event_to_sample_seconds", told)
        told = "From Kafka's time of an event until the weights had learnt it."
        yield self._event_to_weights.metric("headrace_trainer_event_to_weights_seconds", told)


def _rolling(metrics: Mapping[str, float]) -> Metric:
    told = GaugeMetricFamily("headrace_trainer_metric", "Rolling metrics, prequential.", labels=["name", "slice"])
    for name, value in metrics.items():
        metric, _, slice_name = name.removesuffix("]").partition("[")
        if not name.endswith("_overall") and math.isfinite(value):
            told.add_metric([metric, slice_name], value)
    return told
