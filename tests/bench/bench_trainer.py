"""The trainer from Kafka beside the same learner fed from memory, in one run: `make bench-trainer`.

A backlog of ML-100k ratings stands in a real Kafka as organic samples; the real trainer process learns it, publishing
and checkpointing as always. Then the same learner takes the same samples from memory, in micro-batches of equal size.
Beside both stands a fixed plain torch step, and the steps of ranker and tower are profiled on the batches just learnt.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from kafka import KafkaProducer

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.demo.data import load_movielens  # noqa: E402
from compose.local_stack import LocalStack  # noqa: E402
from features.config import load_app_config, load_section  # noqa: E402
from tests.bench import plain_step  # noqa: E402
from tests.bench.step_profile import profile_steps  # noqa: E402
from tests.bench.step_recorder import Recorder  # noqa: E402
from trainer.config import TrainerConfig  # noqa: E402
from trainer.online_learner import OnlineLearner  # noqa: E402
from trainer.recorded_batches import RecordedBatches  # noqa: E402
from trainer.samples import decode_sample  # noqa: E402
from trainer.step_config import StepConfig  # noqa: E402

CONFIG = ROOT / "headrace.yaml"
KEPT = 100
"""Batches of each kind that are profiled."""


def main() -> int:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8000, help="samples to learn")
    options = parser.parse_args()
    samples = list(sample_messages(options.samples))
    per_s, batch_size = from_kafka(samples)
    print(f"trainer from Kafka: {per_s:,.0f} samples/s in micro-batches of {batch_size}")
    memory = from_memory(samples, batch_size)
    print(f"same learner from memory: {memory.per_s:,.0f} samples/s; Kafka to it: ratio={per_s / memory.per_s:.3f}")
    plain_per_s = plain_step.samples_per_s()
    print(f"plain torch step: {plain_per_s:,.0f} samples/s; Kafka to it: ratio={per_s / plain_per_s:.3f}")
    to_plain = f"to the plain step, which is timed so too: ratio={memory.per_cpu_s / plain_per_s:.3f}"
    print(f"same learner from memory in CPU time: {memory.per_cpu_s:,.0f} samples/s; {to_plain}")
    rows = f"rows of lists, which are what the plain step learns: ratio={memory.rows_per_cpu_s / plain_per_s:.3f}"
    print(f"of these samples the ranker learns {memory.rows_per_cpu_s:,.0f} new {rows}")
    print(f"of its time {memory.weights_share:.0%} go into steps on the weights, the rest into lists and tables")
    for step in profile_steps(memory.recorded, memory.config):
        print(step)
    return 0


def sample_messages(size: int) -> Iterator[bytes]:
    """Yield ML-100k ratings in time order as organic samples, 10 ms apart."""
    outcome_of = load_app_config(CONFIG).actions["rating"].outcome_of
    start_ms = time.time_ns() // 1_000_000 - 10 * size
    for number, event in enumerate(load_movielens().events[:size]):
        yield msgspec.json.encode(
            {
                "sample_id": f"bench-{number}",
                "kind": "organic",
                "user_id": event.user_id,
                "items": [{"item_id": event.item_id}],
                "event_id": f"bench-{number}",
                "action": event.action,
                "value": event.value,
                "outcome": outcome_of(event.value),
                "event_time_ms": start_ms + 10 * number,
                "broker_time_ms": start_ms + 10 * number,
            }
        )


def from_kafka(samples: list[bytes]) -> tuple[float, int]:
    """Let the real trainer learn a backlog; return samples/s and the mean micro-batch."""
    with tempfile.TemporaryDirectory() as folder:
        with LocalStack(CONFIG, Path(folder), parts=["kafka", "topics"]) as stack:
            producer = KafkaProducer(bootstrap_servers=stack.start().kafka)
            for value in samples:
                producer.send("headrace.samples.v1", value=value, partition=0)
            producer.flush()
            producer.close()
        with LocalStack(CONFIG, Path(folder), parts=["kafka", "topics", "trainer"]) as stack:
            stack.start()
            states = list(watch(Path(folder) / "trainer.json", len(samples)))
    first, last = states[0], states[-1]
    learnt = last["progress"]["samples"] - first["progress"]["samples"]
    steps = last["progress"]["step"] - first["progress"]["step"]
    return 1000.0 * learnt / (last["time_ms"] - first["time_ms"]), max(1, round(learnt / max(1, steps)))


def watch(path: Path, size: int) -> Iterator[dict[str, Any]]:
    """Yield the trainer's status whenever it changed, until all samples are learnt."""
    seen = 0
    while seen < size:
        state = json.loads(path.read_text()) if path.exists() else {"progress": {"samples": 0}}
        if state["progress"]["samples"] > seen:
            seen = state["progress"]["samples"]
            yield state
        time.sleep(0.05)


@dataclass(frozen=True)
class MemoryRun:
    """What the learner did without Kafka."""

    per_s: float
    per_cpu_s: float
    """In CPU time, for a machine that others use."""
    rows_per_cpu_s: float
    """Rows of lists that the ranker learns for the first time."""
    weights_share: float
    """Of its time inside the steps of ranker and tower."""
    recorded: RecordedBatches
    """The last batches of each."""
    config: StepConfig


def from_memory(samples: list[bytes], batch_size: int) -> MemoryRun:
    """Let the same learner take the same samples from a list."""
    torch.set_num_threads(1)
    config = load_section(CONFIG, "trainer", TrainerConfig).learner
    learner = OnlineLearner(load_app_config(CONFIG), config)
    recorder = Recorder(learner.weights)
    started_s, began_s = time.perf_counter(), time.process_time()
    for start in range(0, len(samples), batch_size):
        learner.learn_batch([decode_sample(value) for value in samples[start : start + batch_size]])
    spent_s, cpu_s = time.perf_counter() - started_s, time.process_time() - began_s
    steps = config.step_config(learner.heads.first_scales)
    num_rows = sum(len(batch.labels) for batch in recorder.lists)
    rates = len(samples) / spent_s, len(samples) / cpu_s, num_rows / cpu_s
    return MemoryRun(*rates, recorder.spent_s / spent_s, recorder.newest(KEPT), steps)


if __name__ == "__main__":
    sys.exit(main())
