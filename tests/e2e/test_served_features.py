"""What the server ranked with is what a stock Feast store says of the same user and items: no skew on the way."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from feast import FeatureStore
from kafka import KafkaConsumer

from features.config import AppConfig, load_app_config
from features.model_inputs import item_service, ranker_input_names, user_input_names, user_service
from features.store import open_store
from headrace_client import Event, EventProducer, Recommender
from tests.e2e.app import read_topic
from tests.running_stack import RunningStack, wait_for

pytestmark = pytest.mark.stack
USERS, REQUESTS = 5, 20
TOLERANCE = 2e-3
"""The server takes logs from a table, sends float32, and decays items as of its catalogue, some moments ago."""
Row = Mapping[str, Any]


def decayed(numbers: list[float] | None, half_lives_s: tuple[float, ...], now_ms: int) -> list[list[float]]:
    """Return the three sums of each half-life as of now; seven numbers each, by `docs/features.md`."""
    sums = []
    for place, half_life_s in enumerate(half_lives_s):
        part = numbers[7 * place : 7 * place + 7] if numbers else [0.0] * 7
        age = now_ms / (1000.0 * half_life_s) - 40.0 * part[0]
        sums.append([part[1 + kind] * 2.0**-age + part[4 + kind] * 2.0 ** (-age - 40.0) for kind in range(3)])
    return sums


def clipped(value: float) -> float:
    """Return an input as the ranker takes it."""
    return min(max(value, -5.0), 5.0)


class Stock:
    """An unchanged Feast store and plain formulas over what it reads."""

    def __init__(self, store: FeatureStore, app: AppConfig) -> None:
        self._store, self._features = store, app.features
        self._half_lives_s = tuple(app.features.half_lives_s)

    def user_inputs(self, user_id: str, now_ms: int) -> dict[str, float]:
        """Return what the user's row alone says."""
        row = self._read(user_service(self._features), "user_id", [user_id])[0]
        counts = decayed(row["user_counters"], self._half_lives_s, now_ms)
        inputs = {
            f"user_events_decay_{name}": math.log1p(counts[place][0])
            for place, name in enumerate(self._spans("user_events_decay_"))
        }
        rate = (counts[-1][1] + 10.0) / (counts[-1][0] + 20.0)
        inputs |= {"user_positive_rate": math.log(rate / (1.0 - rate))}
        inputs |= {"user_history_length": math.log1p(len(row["user_history_item_ids"] or []))}
        return {name: clipped(value) for name, value in inputs.items()}

    def item_inputs(self, item_ids: list[str], every_id: list[str], now_ms: int) -> list[dict[str, float]]:
        """Return what the rows of items say, beside the sums over every item."""
        rows = {row["item_id"]: row for row in self._read(item_service(self._features), "item_id", every_id)}
        counts = {item_id: decayed(row["item_counters"], self._half_lives_s, now_ms) for item_id, row in rows.items()}
        totals = np.sum(list(counts.values()), axis=0)
        return [self._of_item(counts[item_id], rows[item_id], totals, now_ms) for item_id in item_ids]

    def _of_item(self, counts: list[list[float]], row: Row, totals: Any, now_ms: int) -> dict[str, float]:
        inputs = {}
        exposure = decayed(row["item_exposure"], self._half_lives_s, now_ms)
        for place, name in enumerate(self._spans("item_events_decay_")):
            events, positives, _ = counts[place]
            lists, expected, clicks = exposure[place]
            prior = (totals[place][1] + 1.0) / (totals[place][0] + 2.0)
            rate = (positives + 20.0 * prior) / (events + 20.0)
            inputs[f"item_events_decay_{name}"] = math.log1p(events)
            inputs[f"item_positive_rate_decay_{name}"] = 4.0 * math.log(rate / prior)
            inputs[f"item_share_decay_{name}"] = (math.log(positives / max(totals[place][1], 1.0) + 1e-5) + 6.0) / 2.0
            inputs[f"item_lists_decay_{name}"] = math.log1p(lists)
            inputs[f"item_clicks_over_expected_decay_{name}"] = math.log((clicks + 2.0) / (expected + 2.0))
        return {name: clipped(value) for name, value in inputs.items()}

    def _spans(self, prefix: str) -> list[str]:
        names = (*user_input_names(self._features), *ranker_input_names(self._features))
        return list(dict.fromkeys(name.removeprefix(prefix) for name in names if name.startswith(prefix)))

    def _read(self, service: str, key: str, ids: list[str]) -> list[Row]:
        found = self._store.get_online_features(
            features=self._store.get_feature_service(service), entity_rows=[{key: one} for one in ids]
        ).to_dict()
        return [{name: values[place] for name, values in found.items()} for place in range(len(ids))]


def differences(served: Row, stock: Stock, every_id: list[str], app: AppConfig) -> list[str]:
    """Return each input of a served list that the stock store tells otherwise."""
    now_ms = served["served_time_ms"]
    names = ranker_input_names(app.features)
    logged_user = dict(zip(user_input_names(app.features), served["user_row"], strict=False))
    sides = [("user", logged_user, stock.user_inputs(served["user_id"], now_ms))]
    items = [item["item_id"] for item in served["items"]]
    for item, expected in zip(served["items"], stock.item_inputs(items, every_id, now_ms), strict=True):
        sides.append((item["item_id"], dict(zip(names, item["row"], strict=True)), expected))
    return [
        f"{who} {name}: served {logged[name]:.5f}, stock {value:.5f}"
        for who, logged, expected in sides
        for name, value in expected.items()
        if abs(logged[name] - value) > TOLERANCE
    ]


def test_served_inputs_equal_a_stock_read(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """Once the last events have arrived, every list of twenty was ranked with what `get_online_features` reads."""
    app = load_app_config(stack.config_path)
    stock = Stock(open_store(stack.endpoints, app), app)
    users = [f"stock-{uuid.uuid4().hex[:6]}-{number}" for number in range(USERS)]
    for number, user_id in enumerate(users):
        for item_id in tastes[number % 4][: number + 2]:
            producer.send(Event(user_id=user_id, item_id=item_id, action="like" if number % 2 else "view")).result(30)
    every_id = _known_items(stack)

    def compared(asked: list[str]) -> list[str]:
        ids = [recommender.recommend(user_id, 10, "probe").request_id for user_id in asked]
        served = wait_for(lambda: _served(stack, ids), "the served records", 30)
        return [line for record in served for line in differences(record, stock, every_id, app)]

    wait_for(lambda: not compared(users), "lists that agree", 60)
    assert compared(users * (REQUESTS // USERS)) == []


def _served(stack: RunningStack, request_ids: list[str]) -> list[Row] | None:
    records = {record["request_id"]: record for record in read_topic(stack, "headrace.served.v1")}
    return [records[one] for one in request_ids] if records.keys() >= set(request_ids) else None


def _known_items(stack: RunningStack) -> list[str]:
    consumer: Any = KafkaConsumer(
        "headrace.features.item_activity.v1",
        bootstrap_servers=stack.endpoints.kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=1000,
    )
    try:
        return sorted({record.key.decode() for record in consumer})
    finally:
        consumer.close()
