"""A real ingester, really killed: what a reader saw is in the log, once, under the version it was read with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from features.config import FeaturesConfig
from features.feast_rows import FeastRows, decode_version, version_field
from features.feast_values import encode_value
from features.feature_log_files import LOG_FOLDER
from tests.features.feature_log_parts import logged
from tests.features.ingest_until_killed import NUM_USERS, TOPIC, user_records
from tests.running_stack import wait_for

NUM_RECORDS = 900
KILLS = 5
TIMEOUT_S = 300.0
"""Of each wait: a busy machine takes a minute to start a process, and rows that are lost never come."""
ROWS = FeastRows("headrace")
USERS = [f"u{number}" for number in range(NUM_USERS)]
Seen = dict[tuple[str, int], tuple[bytes, ...]]


@contextmanager
def ingester(address: str, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end, if it was not before."""
    script = Path(__file__).with_name("ingest_until_killed.py")
    process = subprocess.Popen([sys.executable, str(script), address, str(state), str(NUM_RECORDS)])
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def look(client: Any, seen: Seen) -> int:
    """Note what a reader finds now, and return the next offset."""
    names = [version_field(TOPIC.view), *list(ROWS.mapping(deleted("u0"), 1))[1:]]
    for user_id in USERS:
        version, *values = client.hmget(ROWS.key(TOPIC.view, user_id), names)
        if version:
            seen[user_id, decode_version(version)] = tuple(values)
    return int(client.hget("headrace:headrace:ingester", f"{TOPIC.topic}:0") or 0)


def deleted(user_id: str) -> Any:
    """A row without values."""
    return TOPIC.decode(user_id.encode(), None, 0, FeaturesConfig())


def log_rows(state: Path) -> list[tuple[tuple[str, int], tuple[bytes, ...]]]:
    """Every row of the log as a reader would have seen it."""
    return [
        (
            (row[TOPIC.join_key], round(row["event_timestamp"].timestamp() * 1000)),
            tuple(encode_value(kind, row[name]) for name, kind in TOPIC.fields.items()),
        )
        for row in logged(state / LOG_FOLDER, TOPIC.view)
    ]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_read_is_logged_once_whatever_is_killed(
    seed: int, redis_client: Any, redis_address: str, tmp_path: Path
) -> None:
    """Killed at random offsets; Redis loses everything twice: under a running ingester, and between two."""
    stops = sorted(random.Random(seed).sample(range(20, NUM_RECORDS - 20), KILLS))
    seen: Seen = {}
    for number, stop in enumerate(stops):
        with ingester(redis_address, tmp_path) as process:
            reach(stop, redis_client, seen)
            if number == 1:
                wait_for_claim(process.pid, redis_client)
                redis_client.flushall()  # It claims again and reads everything again.
                reach(stop, redis_client, seen)
            os.kill(process.pid, signal.SIGKILL)
        look(redis_client, seen)  # Rows that were written between the last look and the kill.
        if number == 2:
            redis_client.flushall()
    with ingester(redis_address, tmp_path):
        reach(NUM_RECORDS, redis_client, seen)
        wait_for(lambda: newest_is_logged(redis_client, tmp_path), "the last rows in files", TIMEOUT_S)
    rows = log_rows(tmp_path)
    assert len(rows) == len({key for key, _ in rows})
    assert {key: values for key, values in rows if key in seen} == seen
    records = user_records(NUM_RECORDS)[TopicPartition(TOPIC.topic, 0)]
    assert {user: newest(rows, user) for user in USERS} == {user: newest_record(records, user) for user in USERS}


def reach(offset: int, client: Any, seen: Seen) -> None:
    """Look until the ingester has come to an offset."""
    wait_for(lambda: look(client, seen) >= offset, f"offset {offset}", TIMEOUT_S, pause_s=0.0005)


def wait_for_claim(pid: int, client: Any) -> None:
    """Wait until a process is the writer."""
    identity = b"/%d/" % pid
    owner = "headrace:headrace:ingester", "owner"
    wait_for(lambda: identity in (client.hget(*owner) or b""), f"a claim by {pid}", TIMEOUT_S)


def newest_is_logged(client: Any, state: Path) -> bool:
    """Say whether the log's newest row of every user is the one in Redis."""
    now: Seen = {}
    look(client, now)
    return set(now.items()) <= set(log_rows(state))


def newest(rows: list[tuple[tuple[str, int], tuple[bytes, ...]]], user_id: str) -> tuple[bytes, ...]:
    """The values of a user's newest row in the log."""
    return max((version, values) for (user, version), values in rows if user == user_id)[1]


def newest_record(records: list[Any], user_id: str) -> tuple[bytes, ...]:
    """The values of a user's last record."""
    record = [record for record in records if record.key == user_id.encode()][-1]
    row = TOPIC.decode(record.key, record.value, 0, FeaturesConfig())
    return tuple(encode_value(kind, row.fields[name]) for name, kind in TOPIC.fields.items())
