"""A column that is declared on a store with data: it is there for everybody, also for those who stay silent."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from feast import FeatureStore
from kafka import TopicPartition
from redis import Redis

from features.__main__ import build_ingester
from features.apply import apply_features
from features.column_fingerprint import column_fingerprint
from features.config import AppConfig, Endpoints, FeaturesConfig
from features.feature_topics import FEATURE_TOPICS
from features.store import open_store
from tests.fakes import FakeFeatureConsumer
from tests.features.declared import DECLARED
from tests.features.feature_records import Record, user_value

WITH = FeaturesConfig(declared={"user_last_rating": DECLARED["user_last_rating"]})
ROW = user_value("u1", 2.0, features={"user_last_rating": [4.0, 1.0]})


class _ReadOnce(threading.Event):
    """Stops an ingester when it has read all there is."""

    def __init__(self, consumer: FakeFeatureConsumer) -> None:
        super().__init__()
        self._consumer = consumer

    def is_set(self) -> bool:
        """Say whether all is read."""
        ends = {part: len(records) for part, records in self._consumer.records.items()}
        return self._consumer.positions == ends


def _ingest(app: AppConfig, endpoints: Endpoints, features: FeaturesConfig, client: Redis) -> None:
    """Run an ingester over a topic whose one row has the new column already; its user stays silent for good."""
    topics: dict[tuple[str, int], list[Any]] = {TopicPartition(topic.topic, 0): [] for topic in FEATURE_TOPICS}
    topics[TopicPartition("headrace.features.user_activity.v1", 0)] = [Record(b"u1", ROW)]
    consumer = FakeFeatureConsumer(topics)
    configured = app.model_copy(update={"features": features})
    build_ingester(configured, endpoints, consumer, client, _ReadOnce(consumer)).run()


def _read(store: FeatureStore) -> Any:
    rows = store.get_online_features(features=["user_activity:user_last_rating"], entity_rows=[{"user_id": "u1"}])
    return rows.to_dict()["user_last_rating"]


def test_rows_that_were_read_before_their_column_was_declared_are_read_again(
    tmp_path: Path, app: AppConfig, redis_address: str, redis_client: Any
) -> None:
    """The ingester of the old configuration drops the column and stores its offsets; the one of the new reads anew."""
    endpoints = Endpoints(kafka="127.0.0.1:1", redis=redis_address, model_store="", state=str(tmp_path / "state"))
    store = open_store(endpoints, app)
    apply_features(store, FeaturesConfig())
    _ingest(app, endpoints, FeaturesConfig(), redis_client)
    apply_features(store, WITH)
    assert _read(store) == [None]
    _ingest(app, endpoints, WITH, redis_client)
    assert _read(store) == [[4.0, 1.0]]


def test_the_order_of_declarations_makes_no_other_columns() -> None:
    """Another meaning does, and so does another number of half-lives."""
    turned = FeaturesConfig(declared=dict(reversed(DECLARED.items())))
    assert column_fingerprint(turned) == column_fingerprint(FeaturesConfig(declared=DECLARED))
    others = (FeaturesConfig(), WITH, FeaturesConfig(half_lives_s=(60.0,)))
    assert len({column_fingerprint(one) for one in others}) == 3
