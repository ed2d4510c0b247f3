"""Prequential evaluation of a file: the trainer's own learner in strict time order, no Kafka, one process.

Organic mode of design 4.3. Columns: user_id, item_id, action, value, event_time_ms; optional items file with
item_id, categories, published_time_ms.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from features.config import AppConfig, ConfigError, load_app_config, load_section
from features.label_config import load_labels
from trainer.config import TrainerConfig, config_hash
from trainer.learner import Learner
from trainer.samples import Sample, SampleItem

BATCH_SAMPLES = 16
REQUIRED_COLUMNS = ("user_id", "item_id", "event_time_ms")


@dataclass(frozen=True)
class ItemRecord:
    """What is known of an item beside its events."""

    categories: tuple[str, ...]
    published_time_ms: int


def read_samples(path: Path, app: AppConfig, default_action: str) -> list[Sample]:
    """Read events as organic samples, in time order; ties keep the order of the file.

    Raises:
        ConfigError: the file is unreadable, lacks a column or holds an undeclared action.
    """
    columns = _read_columns(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise ConfigError(f"{path} lacks the columns {missing}; it needs {', '.join(REQUIRED_COLUMNS)}")
    size = len(columns["user_id"])
    actions = columns.get("action") or [default_action] * size
    unknown = sorted(set(actions) - set(app.actions))
    if unknown:
        raise ConfigError(f"{path} holds undeclared actions {unknown[:5]}; declare them under actions in headrace.yaml")
    values = columns.get("value") or [None] * size
    event_ids = columns.get("event_id") or [f"event-{index}" for index in range(size)]
    order = sorted(range(size), key=lambda index: int(columns["event_time_ms"][index]))
    return [
        Sample(
            sample_id=str(event_ids[i]),
            kind="organic",
            user_id=str(columns["user_id"][i]),
            items=[SampleItem(str(columns["item_id"][i]))],
            event_time_ms=int(columns["event_time_ms"][i]),
            action=actions[i],
            value=values[i],
            outcome=app.actions[actions[i]].outcome_of(values[i]),
        )
        for i in order
    ]


def read_items(path: Path) -> dict[str, ItemRecord]:
    """Read item records by id.

    Raises:
        ConfigError: the file is unreadable or lacks item_id.
    """
    columns = _read_columns(path)
    if "item_id" not in columns:
        raise ConfigError(f"{path} lacks the column item_id")
    size = len(columns["item_id"])
    categories = columns.get("categories") or [()] * size
    published = columns.get("published_time_ms") or [0] * size
    return {
        str(columns["item_id"][i]): ItemRecord(tuple(categories[i] or ()), int(published[i] or 0)) for i in range(size)
    }


def evaluate(
    learner: Learner, samples: Sequence[Sample], items: dict[str, ItemRecord], score_from_ms: int = 0
) -> dict[str, Any]:
    """Learn all samples in order, predict before learn; return the metrics of those from `score_from_ms` on."""
    started = time.perf_counter()
    for batch in _batches(samples):
        for sample in batch:
            _announce(learner, sample.items[0].item_id, items)
        if batch[0].event_time_ms >= score_from_ms > 0:
            learner.metrics.restart()
            score_from_ms = 0
        learner.learn_batch(batch)
    wall_s = time.perf_counter() - started
    values = learner.metrics.values()
    organic = {name: values.get(f"{name}_overall") for name in ("hr@10", "ndcg@10", "mrr@10", "candidate_recall")}
    return {
        "organic": {
            "events": learner.metrics.count("hr@10"),
            "skipped_cold": learner.progress.skipped_cold,
            **organic,
            "coverage": len(learner.metrics.listed_rows) / max(1, len(learner.builder.items)),
        },
        "samples": learner.progress.samples,
        "wall_s": wall_s,
        "events_per_s": len(samples) / wall_s,
        "config_hash": config_hash(learner.app, learner.config, learner.labels),
    }


def _announce(learner: Learner, item_id: str, items: dict[str, ItemRecord]) -> None:
    """Set an item's record just before the batch of its first event; the list builder lists it only after that."""
    record = items.get(item_id)
    if record is not None and learner.builder.items.row_of(item_id) < 0:
        learner.builder.items.set_item(item_id, record.categories, published_time_ms=record.published_time_ms)


def _batches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    return (samples[start : start + BATCH_SAMPLES] for start in range(0, len(samples), BATCH_SAMPLES))


def _read_columns(path: Path) -> dict[str, list[Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"cannot read {path} as parquet: {error}") from error
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate a file and print the metrics as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.progressive_eval", description="Evaluate a file of events, predict before learn."
    )
    parser.add_argument("events", type=Path, help="parquet: user_id, item_id, event_time_ms, action, value")
    parser.add_argument("--items", type=Path, help="parquet: item_id, categories, published_time_ms")
    parser.add_argument("--config", type=Path, default=Path("headrace.yaml"))
    parser.add_argument("--action", default="rating", help="action of a file without that column")
    parser.add_argument("--score-from", type=int, default=0, metavar="TIME_MS", help="score only what is later")
    options = parser.parse_args(arguments)
    try:
        app = load_app_config(options.config)
        labels = load_labels(options.config, app)
        config = load_section(options.config, "trainer", TrainerConfig)
        samples = read_samples(options.events, app, options.action)
        items = read_items(options.items) if options.items else {}
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    torch.set_num_threads(config.num_threads)
    learner = Learner(app, config.learner, lists_only_seen=True, labels=labels)
    print(json.dumps(evaluate(learner, samples, items, options.score_from), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
