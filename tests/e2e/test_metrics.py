"""Every part of the running stack answers Prometheus, tells what docs/metrics.md lists, and what really happens."""

from __future__ import annotations

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from features.metrics_config import PARTS
from headrace_client import EventProducer, Recommender
from tests.e2e.app import covers, send_like
from tests.metrics_page import listed
from tests.running_stack import RunningStack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

FRESHNESS = (
    "headrace_ingester_event_to_feature_seconds_count",
    "headrace_trainer_event_to_sample_seconds_count",
    "headrace_trainer_event_to_weights_seconds_count",
    "headrace_serving_event_to_served_seconds_count",
)


def scraped(stack: RunningStack, part: str) -> tuple[set[tuple[str, str]], dict[str, float]]:
    """Return the families of a part with their kinds, and its samples by name and label values."""
    url = f"http://{stack.endpoints.metrics[part]}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    kinds = {(f.name + ("_total" if f.type == "counter" else ""), f.type) for f in families}
    values = {":".join((s.name, *s.labels.values())): s.value for f in families for s in f.samples}
    return kinds, values


def test_every_family_of_the_running_parts_is_on_the_page(stack: RunningStack) -> None:
    """A collector that is registered and not listed would be found here."""
    told = set().union(*(scraped(stack, part)[0] for part in PARTS))
    assert told <= {(one.name, one.kind) for one in listed()}


def test_freshness_is_told_from_event_to_answer(
    stack: RunningStack, producer: EventProducer, recommender: Recommender
) -> None:
    """One like passes all four stages, and each of them counts it."""
    ack = send_like(producer, "metrics-fan", "metrics-item")
    wait_for(lambda: covers(stack, recommender, ack), "a version that learnt the like")

    def all_counted() -> bool | None:
        values = {name: value for part in PARTS for name, value in scraped(stack, part)[1].items()}
        return all(values.get(name, 0) > 0 for name in FRESHNESS) or None

    assert wait_for(all_counted, "freshness at every stage")


def test_exporter_tells_of_kafka_flink_redis_and_the_stack(stack: RunningStack) -> None:
    """What runs is up, jobs have checkpoints and a lag, and topics tell what they hold."""

    def whole() -> dict[str, float] | None:
        values = scraped(stack, "exporter")[1]
        jobs = [name for name in values if name.startswith("headrace_flink_job_running:")]
        lagging = [name for name in values if name.startswith("headrace_flink_job_lag_records:")]
        aged = [name for name in values if name.startswith("headrace_flink_job_checkpoint_age_seconds:")]
        return values if len(jobs) == len(lagging) == len(aged) == 2 else None

    values = wait_for(whole, "both jobs with lag and checkpoint", pause_s=1.0)
    assert [values[f"headrace_{name}_up"] for name in ("kafka", "flink", "redis")] == [1, 1, 1]
    assert values["headrace_kafka_topic_partitions:headrace.events.v1"] == 4
    assert values["headrace_stack_part_up:trainer"] == 1
