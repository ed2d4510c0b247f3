"""The topics are those of the contract, each with its limits."""

from __future__ import annotations

import re

import pytest

from compose.topics import FEATURE_VIEWS, TOPICS, TopicSpec
from tests.compose.small_stack import ROOT

BY_NAME = {topic.name: topic for topic in TOPICS}
ONE_PARTITION = {"headrace.models.v1", "headrace.deltas.v1", "headrace.control.v1", "headrace.quality.v1"}


def test_every_topic_that_the_protos_name_is_created() -> None:
    """No part finds its topic missing: auto-creation is off."""
    text = "".join(path.read_text() for path in (ROOT / "protos").glob("*.proto"))
    assert set(re.findall(r"headrace(?:\.[a-z_]+)+\.v1(?=[ ,.()])", text)) - _packages(text) <= set(BY_NAME)


def _packages(text: str) -> set[str]:
    return set(re.findall(r"package (\S+);", text)) - set(BY_NAME)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_times_are_the_brokers(topic: TopicSpec) -> None:
    """Event times are judged against LogAppendTime."""
    assert topic.settings()["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_order_per_model_and_parallelism_per_user(topic: TopicSpec) -> None:
    """Model topics are one ordered log; everything else spreads over four partitions."""
    assert topic.partitions == (1 if topic.name in ONE_PARTITION else 4)


def test_state_topics_are_compacted_and_deltas_are_not() -> None:
    """The newest row of each key stays for good; deltas go with their snapshots."""
    compacted = {name for name, topic in BY_NAME.items() if topic.settings()["cleanup.policy"] == "compact"}
    features = {f"headrace.features.{view}.v1" for view in FEATURE_VIEWS}
    assert compacted == features | {"headrace.items.v1", "headrace.models.v1"}


def test_samples_stay_a_week() -> None:
    """A trainer that was away for days still finds its samples."""
    assert int(BY_NAME["headrace.samples.v1"].settings()["retention.ms"]) >= 7 * 86_400_000


def test_superseded_item_records_stay_as_long_as_events() -> None:
    """A replay finds the categories of each event's day, and a trainer that repeats its batches the same records."""
    kept_ms = int(BY_NAME["headrace.items.v1"].settings()["min.compaction.lag.ms"])
    inputs = ("headrace.events.v1", "headrace.events.backfill.v1")
    assert all(kept_ms >= int(BY_NAME[name].settings()["retention.ms"]) for name in inputs)


def test_apps_cannot_send_large_records() -> None:
    """64 KiB for what apps write, 1 MiB for what the stack writes."""
    small = {name for name, topic in BY_NAME.items() if topic.settings()["max.message.bytes"] == "65536"}
    assert small == {"headrace.events.v1", "headrace.events.backfill.v1", "headrace.items.v1"}
    assert BY_NAME["headrace.samples.v1"].settings()["max.message.bytes"] == "1048576"
