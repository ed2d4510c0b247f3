"""A feature and a label that somebody adds to `headrace.yaml` work from event to model, all else left alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from features.config import load_app_config
from features.model_inputs import ranker_input_names
from features.store import open_store
from headrace_client import Event, EventProducer, Item, Recommender
from tests.oracle.oracle_stack import SAMPLES, SERVED, OracleStack, TopicLog
from tests.running_stack import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
FEATURE, LABEL = "user_spent", "bought"
"""Only `declared.yaml` knows these names."""


@pytest.fixture
def recommender(oracle_stack: OracleStack) -> Iterator[Recommender]:
    """A client with a deadline for a busy machine."""
    with Recommender(oracle_stack.endpoints.serving, deadline_s=10.0) as client:
        yield client


@pytest.fixture
def shopper(oracle_stack: OracleStack) -> str:
    """A user who has spent 7.5 and 30, among others who like the same items."""
    prefix = f"shop.{time.time_ns():x}."
    with EventProducer(oracle_stack.endpoints.kafka) as producer:
        for number in range(12):
            producer.announce(Item(item_id=f"{prefix}i{number}", title="t", categories=["shop"]))
        for number in range(60):
            item_id = f"{prefix}i{(number * 7) % 12}"
            producer.send(Event(user_id=f"{prefix}u{number % 6}", item_id=item_id, action="like"))
        for value in (7.5, 30.0):
            purchase = Event(user_id=f"{prefix}u0", item_id=f"{prefix}i0", action="purchase", value=value)
            producer.send(purchase).result(30)
    return f"{prefix}u0"


def test_stock_feast_has_the_column(oracle_stack: OracleStack, shopper: str) -> None:
    """The registry knows the field, and the row holds the sum."""
    store = open_store(oracle_stack.endpoints, load_app_config(oracle_stack.config_path))

    def spent() -> Any:
        try:
            reply = store.get_online_features([f"user_activity:{FEATURE}"], [{"user_id": shopper}])
        except redis.TimeoutError:  # Ten processes have just started: it may wait for its turn.
            return False
        return reply.to_dict()[FEATURE][0] == [37.5]

    wait_for(spent, "the sum in the store")


def test_the_ranker_sees_the_number(oracle_stack: OracleStack, recommender: Recommender, shopper: str) -> None:
    """Each row of a served list holds it, at the place that the schema says."""
    place = ranker_input_names(load_app_config(oracle_stack.config_path).features).index(FEATURE)
    log = TopicLog(oracle_stack.endpoints.kafka, SERVED)
    records: list[Any] = []

    def numbers() -> set[float]:
        recommender.recommend(shopper, 5, "probe")
        records.extend(json.loads(record.value or b"") for record in log.read_new())
        rows = [item["row"] for shown in records if shown["user_id"] == shopper for item in shown["items"]]
        return {round(row[place], 5) for row in rows[-1:] if row} & {round(math.asinh(37.5), 5)}

    wait_for(numbers, "a list whose rows hold the sum", timeout_s=90, pause_s=0.2)
    log.close()


def test_the_sample_has_the_label(oracle_stack: OracleStack, recommender: Recommender, shopper: str) -> None:
    """A purchase from a served list corrects it under the added head."""
    log = TopicLog(oracle_stack.endpoints.kafka, SAMPLES, from_start=False)
    reply = wait_for(lambda: _list_with_items(recommender, shopper), "a list", timeout_s=90)
    bought = Event(user_id=shopper, item_id=reply.items[0].item_id, action="purchase", request_id=reply.request_id)
    with EventProducer(oracle_stack.endpoints.kafka) as producer:
        producer.send(bought).result(30)
    samples: list[Any] = []

    def correction() -> Any:
        samples.extend(json.loads(record.value or b"") for record in log.read_new())
        return next((s for s in samples if s["kind"] == "correction" and s["request_id"] == reply.request_id), None)

    assert wait_for(correction, "the correction")["items"][0]["labels"] == {LABEL: 1.0}
    log.close()


def _list_with_items(recommender: Recommender, user_id: str) -> Any:
    reply = recommender.recommend(user_id, 5, "default")
    return reply if reply.items else None
