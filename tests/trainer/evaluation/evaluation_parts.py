"""Small files for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.config import AppConfig
from features.label_config import Labels, derived_labels
from tests.trainer.conftest import START_MS
from trainer.config import LearnerConfig
from trainer.evaluation.stream import Stream, read_stream
from trainer.online_learner import OnlineLearner

SMALL = LearnerConfig(embedding_dim=4, replay_rows=500, retrieval_negatives=16)


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write a parquet file."""
    pq.write_table(pa.table(dict(columns)), path)
    return path


def write_events(path: Path, events: Sequence[tuple[str, str, str]], **columns: Sequence[Any]) -> Path:
    """Write (user, item, action) as events a second apart; further columns may replace the usual ones."""
    usual: dict[str, Sequence[Any]] = {
        "user_id": [user for user, _, _ in events],
        "item_id": [item for _, item, _ in events],
        "action": [action for _, _, action in events],
        "event_time_ms": [START_MS + 1000 * i for i in range(len(events))],
    }
    return write_table(path, usual | columns)


def write_lists(path: Path, lists: Sequence[tuple[str, str, int, Sequence[str]]], **columns: Sequence[Any]) -> Path:
    """Write (request, user, seconds after the start, items) as shown lists."""
    rows = [(r, u, t, item, p) for r, u, t, items in lists for p, item in enumerate(items)]
    usual: dict[str, Sequence[Any]] = {
        "request_id": [row[0] for row in rows],
        "user_id": [row[1] for row in rows],
        "item_id": [row[3] for row in rows],
        "position": [row[4] for row in rows],
        "served_time_ms": [START_MS + 1000 * row[2] for row in rows],
    }
    return write_table(path, usual | columns)


def stream_of(app: AppConfig, events: Path, served: Path | None = None, labels: Labels | None = None) -> Stream:
    """Read files as `evaluate` does."""
    return read_stream(events, app, labels or derived_labels(app), served)


def small_learner(app: AppConfig, labels: Labels | None = None) -> OnlineLearner:
    """Return a fresh learner as `evaluate` uses it."""
    return OnlineLearner(app, SMALL, lists_only_seen=True, labels=labels)
