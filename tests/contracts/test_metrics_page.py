"""docs/metrics.md lists what the parts tell Prometheus, all of it and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from compose.dashboard.page_metrics import PageMetrics
from compose.exporter.flink_metrics import FlinkMetrics
from compose.exporter.kafka_metrics import KafkaMetrics
from compose.exporter.redis_metrics import RedisMetrics
from compose.exporter.stack_metrics import StackMetrics
from features.ingester_metrics import IngesterMetrics
from features.ingester_stats import IngesterStats
from features.quality.quality_metrics import QualityMetrics
from features.quality.quality_stats import QualityStats
from features.security.token_file import Tokens
from serving.rules_file import RulesFile
from serving.security.request_tokens import RequestTokens
from serving.store_health import StoreHealth
from serving.workers.merged_metrics import worker_families
from tests.compose.exporter.silent_servers import no_broker, no_redis
from tests.metrics_page import PAGE, listed, series_of, told_by
from tests.serving.serving_parts import APP, World
from tests.trainer.trainer_content import CONTENT
from trainer.trainer_metrics import TrainerMetrics


class _Workers(Collector):
    def collect(self) -> Iterator[Any]:
        return worker_families([])


def _collectors(directory: Path) -> list[Collector | CollectorRegistry]:
    """Return the collectors of every part, none of which has anything to tell yet."""
    world, metrics = World(directory), TrainerMetrics()
    world.times.count_answer(("no_model",))
    metrics.content = CONTENT
    return [
        *(world.times.registry, world.writer, world.admission, world.models.stats, world.arms, world.canaries),
        *(world.models.indexes, RulesFile(None, APP), Tokens(directory / "tokens.json"), StoreHealth(), _Workers()),
        *(RequestTokens(directory / "request-keys.json"), metrics, FlinkMetrics("")),
        IngesterMetrics(IngesterStats(directory / "ingester.json", lambda: 1)),
        QualityMetrics(QualityStats(directory / "quality.json", lambda: 1)),
        *(KafkaMetrics("", no_broker), RedisMetrics("127.0.0.1:1", no_redis), StackMetrics(directory), PageMetrics()),
    ]


@pytest.fixture(scope="module")
def collectors(tmp_path_factory: pytest.TempPathFactory) -> list[Collector | CollectorRegistry]:
    """Return the collectors of every part."""
    return _collectors(tmp_path_factory.mktemp("parts"))


def test_page_and_parts_tell_the_same(collectors: list[Collector | CollectorRegistry]) -> None:
    """Names, kinds, labels and meanings are equal, so neither can drift."""
    assert sorted(listed()) == told_by(collectors)


def test_every_name_says_its_part_and_its_unit() -> None:
    """`headrace_<part>_<what>_<unit>`: times in seconds, sizes in bytes, counters with `_total`."""
    wrong = [
        one.name
        for one in listed()
        if re.search(r"_(ms|millis|kb|mb|minutes|hours|percent)(_|$)", one.name)
        or (one.kind == "counter") != one.name.endswith("_total")
        or (one.kind == "histogram") != (f"{one.name}_bucket" in series_of([one]))
        or one.name.split("_")[1] not in _PARTS
    ]
    assert wrong == []


_PARTS = {"serving", "ingester", "feature", "quality", "trainer", "kafka", "flink", "redis", "stack", "dashboard"}


def test_page_lists_no_name_twice() -> None:
    """A name has one meaning."""
    names = [one.name for one in listed()]
    assert sorted(set(names)) == sorted(names), PAGE
