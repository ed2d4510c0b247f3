"""What the server logged of a user is what the log of events said at that moment, or a little before."""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from headrace_client import Event, EventProducer, Recommender
from tests.oracle.oracle_stack import EVENTS, SERVED, OracleStack, TopicLog
from tests.oracle.plain_events import Json, Record, events_of
from tests.running_stack import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
LISTS, USERS = 1000, 25
OLDEST_MS = 60_000
"""A record that is older than this when it is served is wrong on any machine."""


def test_a_thousand_served_records_say_what_the_log_said(oracle_stack: OracleStack) -> None:
    """Every logged `user_row` is that of the user's first k events, k as many as there were within the last moments."""
    logs = [TopicLog(oracle_stack.endpoints.kafka, topic, from_start=False) for topic in (EVENTS, SERVED)]
    asked = _act(oracle_stack, f"served.{time.time_ns():x}")
    served: list[Record] = []
    wait_for(lambda: asked <= {record.key for record in _extended(served, logs[1])}, "a thousand served records", 120)
    served = [record for record in served if record.key in asked]
    events = list(events_of(logs[0].read_new(), dict(oracle_stack.config))[0].values())
    for log in logs:
        log.close()
    lags_ms = [_lag_ms(json.loads(record.value or b""), events, oracle_stack.config) for record in served]
    unexplained = [record.value for record, lag_ms in zip(served, lags_ms, strict=True) if lag_ms is None]
    assert not unexplained, f"{len(unexplained)} of {len(served)}: {unexplained[:3]}"
    known = sorted(lag_ms for lag_ms in lags_ms if lag_ms is not None)
    print(f"{len(served)} served records, behind the log p50 {statistics.median(known)} ms, p99 {known[-10]} ms")


def _extended(records: list[Record], log: TopicLog) -> list[Record]:
    records.extend(log.read_new())
    return records


def _act(stack: OracleStack, prefix: str) -> set[str]:
    """Ask for lists while users act; return the requests that were answered with the user's row.

    A store that did not answer in time is said in the answer, whose row is then that of nobody.
    """
    answered: set[str] = set()
    rng = random.Random(5)
    users = [f"{prefix}.u{number}" for number in range(USERS)]
    with EventProducer(stack.endpoints.kafka) as producer, Recommender(stack.endpoints.serving, 10.0) as recommender:
        wait_for(lambda: _is_hydrated(recommender.recommend(users[0], 5, "probe")), "a server that reads users", 120)
        for number in range(5 * LISTS):
            for _ in range(rng.randrange(3)):
                action = rng.choice(["view", "click", "dislike", "like"])
                producer.send(Event(user_id=rng.choice(users), item_id=f"{prefix}.i{number % 40}", action=action))
            reply = recommender.recommend(rng.choice(users), 5, "probe")
            if _is_hydrated(reply):
                answered.add(reply.request_id)
            if len(answered) == LISTS:
                break
    assert len(answered) == LISTS
    return answered


def _is_hydrated(reply: Any) -> bool:
    return "feature_store_unavailable" not in reply.degraded_reasons


def _lag_ms(shown: Json, events: Sequence[Json], config: Any) -> int | None:
    """Return how far behind the log the row was: 0 where it held everything, None where nothing explains it."""
    own = [event for event in events if event["user_id"] == shown["user_id"]]
    own = [event for event in own if event["record_time_ms"] <= shown["served_time_ms"] + 5]
    for count, lag_ms in _prefixes(own, shown["served_time_ms"]):
        expected = user_row(own[:count], shown["served_time_ms"], config)
        logged = shown["user_row"][: len(expected)]  # Behind it comes what items say of the user.
        if len(logged) == len(expected) and np.allclose(logged, expected, atol=1e-5):
            return lag_ms
    return None


def _prefixes(events: Sequence[Json], served_ms: int) -> Iterator[tuple[int, int]]:
    """Yield counts of events that may have been known, all of them first, and how old the first missing one was."""
    yield len(events), 0
    for count in range(len(events) - 1, -1, -1):
        lag_ms = served_ms - events[count]["record_time_ms"]
        if lag_ms > OLDEST_MS:
            return
        yield count, max(lag_ms, 0)


def user_row(events: Sequence[Json], now_ms: int, config: Any) -> list[float]:
    """Return what a ranker that has seen these events knows of the user; the items' part of the row comes behind it."""
    half_lives_ms = [1000 * half_life_s for half_life_s in config["features"]["half_lives_s"]]
    counts = [sum(2 ** ((e["event_time_ms"] - now_ms) / half_life) for e in events) for half_life in half_lives_ms]
    positives = sum(2 ** ((e["event_time_ms"] - now_ms) / half_lives_ms[-1]) for e in events if e["outcome"] == 1)
    rate = (positives + 10) / (counts[-1] + 20)
    history_ms = sorted(e["event_time_ms"] for e in events)[-config["features"].get("history_length", 50) :]
    idle_ms = max(now_ms - history_ms[-1], 0) if history_ms else 0
    session = sum(now_ms - time_ms < 1_800_000 for time_ms in history_ms)
    row = [*map(math.log1p, counts), math.log(rate / (1 - rate)), math.log1p(len(history_ms))]
    row += [math.log1p(idle_ms / 60_000) / 2, math.log1p(session)]
    return [min(max(value, -5.0), 5.0) for value in row]
