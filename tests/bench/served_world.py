"""What a bench of the server serves: a version, an item table, users in Redis, and a Redis for them."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from compose.redis_server import redis_binary
from features.config import Endpoints

NUM_USERS = 200
LIST_LENGTH = 20
EMBEDDING_DIM = 32


def made_item_ids(num_items: int) -> tuple[str, ...]:
    """Return the ids of so many items."""
    return tuple(f"item-{number:05d}" for number in range(num_items))


def fill_model_store(endpoints: Endpoints, item_ids: tuple[str, ...], clusters: int = 0) -> None:
    """Write one version with co-visitation of 128 neighbours; vectors are random, or lie around so many centres."""
    from tests.serving.serving_parts import APP, make_version
    from trainer.version_files import write_version

    random = np.random.default_rng(1)
    shape = (len(item_ids), 128)
    made = make_version("1.1", item_ids, dim=EMBEDDING_DIM)
    if clusters:
        centres = random.normal(size=(clusters, EMBEDDING_DIM)).astype(np.float32)
        vectors = centres[random.integers(clusters, size=len(item_ids))] + 0.3 * made.item_vectors
        made = dataclasses.replace(made, item_vectors=vectors.astype(np.float32))
    version = dataclasses.replace(
        made,
        neighbours=random.integers(0, len(item_ids), size=shape, dtype=np.int32),
        weights=random.random(shape, dtype=np.float32),
        totals=np.full(len(item_ids), 100.0, dtype=np.float32),
    )
    write_version(Path(endpoints.model_store) / APP.name, version)


def fill_items(table: Any, item_ids: tuple[str, ...]) -> None:
    """Give items categories, some events and some lists that showed them."""
    from features.declared_table import CountedEvent

    random = np.random.default_rng(2)
    now_ms = time.time_ns() // 1_000_000
    for number, item_id in enumerate(item_ids):
        table.set_item(item_id, [f"genre-{number % 18}", f"genre-{number % 7}"], published_time_ms=now_ms - number)
    for row in random.integers(0, len(item_ids), size=20_000).tolist():
        event = CountedEvent("", "", item_ids[row], "click", None, now_ms - int(random.integers(0, 3_600_000)))
        table.add_event(row, event, 1)
    for start in range(0, len(item_ids), LIST_LENGTH):
        table.add_shown(item_ids[start : start + LIST_LENGTH], now_ms)


def fill_users(endpoints: Endpoints, item_ids: tuple[str, ...]) -> None:
    """Write rows and consumed sets of users with a full history and full exposure."""
    import pandas as pd
    from redis import Redis

    from features.apply import apply_features
    from features.consumed_items import consumed_key
    from features.store import open_store
    from tests.serving.serving_parts import APP

    store = open_store(endpoints, APP)
    apply_features(store, APP.features)
    host, _, port = endpoints.redis.partition(":")
    random = np.random.default_rng(3)
    now_ms = time.time_ns() // 1_000_000
    users = [f"user-{number}" for number in range(NUM_USERS)]
    history = [[item_ids[row] for row in random.integers(0, len(item_ids), size=50)] for _ in users]
    common = {"user_id": users, "event_timestamp": pd.Timestamp.now(tz="UTC")}
    counters = [[now_ms // 2_400_000, 9.0, 5.0, 1.0, 3.0, 2.0, 0.0] * len(APP.features.half_lives_s)] * NUM_USERS
    categories = [[f"genre-{number}" for number in range(18)]] * NUM_USERS
    frames = {
        "user_activity": {
            "user_counters": counters,
            "user_category_names": categories,
            "user_category_counts": [[now_ms // 3_456_000_000, 9.0, 5.0, 1.0, 3.0, 2.0, 0.0] * 18] * NUM_USERS,
            "user_history_item_ids": history,
            "user_history_actions": [["click"] * 50] * NUM_USERS,
            "user_history_times_ms": [[now_ms] * 50] * NUM_USERS,
            "user_history_outcomes": [[1] * 50] * NUM_USERS,
            "user_activity_event_time_ms": now_ms,
        },
        "user_exposure": {
            "user_shown_item_ids": [one * 4 for one in history],
            "user_shown_times_ms": [[now_ms] * 200] * NUM_USERS,
            "user_exposure_event_time_ms": now_ms,
        },
    }
    for view, columns in frames.items():
        store.write_to_online_store(view, pd.DataFrame({**common, **columns}))
    with Redis(host, int(port)) as client, client.pipeline() as pipeline:
        for user, items in zip(users, history, strict=True):
            pipeline.zadd(consumed_key(APP.name, user), dict.fromkeys(items, now_ms))
        pipeline.execute()


class RedisProcess:
    """A Redis of this bench.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        command = [str(redis_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def __enter__(self) -> RedisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
