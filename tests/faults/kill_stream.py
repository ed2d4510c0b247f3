"""The stream that killed trainers learn: samples of all kinds, items, repetitions, garbage, a window held a while."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from features.config import AppConfig
from features.quality.hold_table import CONTROL_TOPIC, RELEASE_ORDER, QualityOrder
from features.quality.profile import HELD, QUALITY_TOPIC, Profile, encode_profile
from tests.faults.file_logs import write_records
from tests.trainer.conftest import ACTIONS, START_MS, sample_stream
from trainer.config import LearnerConfig, TrainerConfig
from trainer.online_learner import OnlineLearner
from trainer.sample_log import ITEMS_TOPIC, SAMPLES_TOPIC, LogRecord

APP = AppConfig(name="kills", actions=ACTIONS)
CONFIG = TrainerConfig(
    learner=LearnerConfig(embedding_dim=8, retrieval_negatives=16, replay_rows=500),
    min_batch_samples=3,
    max_batch_samples=16,
    batch_wait_ms=5,
    publish_interval_s=0.1,
    checkpoint_interval_s=0.2,
    keep_checkpoints=2,
    keep_snapshots=3,
    snapshot_interval_s=0.3,
    keep_batch_log_h=24.0,
)
WINDOW_MS = 8000
HELD_START_MS = START_MS + WINDOW_MS
_PARTITIONS = 3


def write_stream(folder: Path, seed: int, size: int) -> tuple[int, int]:
    """Write `samples.jsonl` and the hold of one window into `holds.jsonl`.

    Returns:
        How many samples there are, and how many different events stand in them.
    """
    random_ = random.Random(seed)
    stream = sample_stream(OnlineLearner(APP, CONFIG.learner), size, seed)
    stream = [
        sample if sample.broker_time_ms else msgspec.structs.replace(sample, broker_time_ms=sample.event_time_ms)
        for sample in stream
    ]
    repeated = [random_.choice(stream) for _ in range(size // 10)]
    for sample in repeated:
        stream.insert(random_.randrange(len(stream)), sample)
    offsets: dict[tuple[str, int], int] = {}
    records: list[LogRecord] = []

    def put(topic: str, partition: int, key: bytes, value: bytes | None) -> None:
        offset = offsets.get((topic, partition), 0)
        offsets[topic, partition] = offset + 1
        records.append(LogRecord(topic, partition, offset, key, value, 0))

    for sample in stream:
        put(SAMPLES_TOPIC, random_.randrange(_PARTITIONS), b"", msgspec.json.encode(sample))
        if random_.random() < 0.05:
            item_id = f"i{random_.randrange(40)}"
            item = msgspec.json.encode({"item_id": item_id, "categories": [f"c{random_.randrange(5)}"]})
            put(ITEMS_TOPIC, 0, item_id.encode(), item if random_.random() < 0.9 else None)
        if random_.random() < 0.01:
            put(SAMPLES_TOPIC, random_.randrange(_PARTITIONS), b"", b"garbage")
    write_records(folder / "samples.jsonl", records)
    profile = Profile(window_start_ms=HELD_START_MS, window_end_ms=HELD_START_MS + WINDOW_MS, state=HELD)
    write_records(folder / "holds.jsonl", [LogRecord(QUALITY_TOPIC, 0, 0, b"", encode_profile(profile), 0)])
    return len(stream), len({sample.event.event_id for sample in stream if sample.event is not None})


def write_release(folder: Path) -> None:
    """Let the held window go."""
    order = QualityOrder(
        idempotency_key="k",
        name=APP.name,
        order=RELEASE_ORDER,
        window_start_ms=HELD_START_MS,
        window_end_ms=HELD_START_MS + WINDOW_MS,
    )
    write_records(folder / "holds.jsonl", [LogRecord(CONTROL_TOPIC, 0, 0, b"", msgspec.json.encode(order), 0)])
