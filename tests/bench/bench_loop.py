"""How long an event takes to be felt in served weights: `python tests/bench/bench_loop.py --rate 1000 --seconds 600`.

The whole stack: Kafka, Flink, ingester, Redis, trainer, server. An open-loop producer sends events at the rate asked
for: most are views, `--acts` of them clicks and likes, which teach. A probe asks for a list every 20 ms and notes
which version answers. Every thing that teaches is timed from Kafka's acknowledgement to its sample, to the committed
delta that has learnt it, and to the first answer by a version that has. New items are announced on the way and timed
until they are ranked, withdrawn ones until they are gone. Last, the mean size of a delta beside that of a snapshot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.demo.topic_reader import (  # noqa: E402
    EVENTS_TOPIC,
    SAMPLES_TOPIC,
    AnnouncementSeen,
    SampleSeen,
    decode_record,
)
from compose.local_stack import LocalStack  # noqa: E402
from features.config import Endpoints  # noqa: E402
from headrace_client import AsyncRecommender, EventProducer, Item  # noqa: E402
from tests.bench.loop_times import STAGES, LoopTimes, Published, SampleAt  # noqa: E402
from trainer.delta_chunks import TOPIC as DELTAS_TOPIC  # noqa: E402

CATEGORIES = 40
PROBE_EVERY_S = 0.02
NEW_ITEM_EVERY_S = 10.0
GIVE_UP_S = 30.0
WARM_UP_S = 30.0
LIKES = 0.2
"""Of the things that teach; the others are clicks."""


@dataclass
class Deltas:
    """What travelled on the topic of deltas."""

    num: int = 0
    num_bytes: int = 0


@dataclass
class ItemTimes:
    """Milliseconds from the acknowledgement of an item's record to the first answer that shows it, or does no more."""

    appeared_ms: list[float] = field(default_factory=list)
    left_ms: list[float] = field(default_factory=list)
    given_up: int = 0


class Load:
    """Sends events at a rate.

    Args:
        bootstrap: of Kafka.
        options: rate, users, items, share of events that teach.
        times: told of every acknowledged event that teaches.
    """

    def __init__(self, bootstrap: str, options: argparse.Namespace, times: LoopTimes) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=2)
        self._options, self._times = options, times
        self._rng = np.random.default_rng(7)
        self._run = f"{time.time_ns():x}"
        self.late_ms: list[float] = []
        self.num_sent = 0

    def run(self) -> None:
        """Send for WARM_UP_S + the seconds asked for; only the latter are timed."""
        rate, started_s = self._options.rate, time.perf_counter()
        for number in range(int(rate * (WARM_UP_S + self._options.seconds))):
            late_s = time.perf_counter() - (started_s + number / rate)
            if late_s < 0.0:
                time.sleep(-late_s)
            is_timed = number > rate * WARM_UP_S
            if is_timed:
                self.late_ms.append(max(0.0, 1000.0 * late_s))
            self._send(f"{self._run}-{number}", is_timed)
            self.num_sent += 1
        self._producer.flush()
        self._producer.close()

    def _send(self, event_id: str, is_timed: bool) -> None:
        user_id = f"user-{self._rng.integers(self._options.users)}"
        item = int(self._options.items * self._rng.random() ** 2)
        teaches = self._rng.random() < self._options.acts
        action = ("like" if self._rng.random() < LIKES else "click") if teaches else "view"
        event = {
            "event_id": event_id,
            "user_id": user_id,
            "item_id": item_id(item),
            "action": action,
            "event_time_ms": time.time_ns() // 1_000_000,
        }
        sent = self._producer.send(EVENTS_TOPIC, key=user_id.encode(), value=msgspec.json.encode(event))
        if teaches and is_timed:
            sent.add_callback(lambda _metadata: self._times.acked_s.setdefault(event_id, time.perf_counter()))


def item_id(number: int) -> str:
    """Return the id of an item of the catalogue."""
    return f"item-{number:06d}"


def announce_items(bootstrap: str, num_items: int) -> None:
    """Send the records of the whole catalogue."""
    with EventProducer(bootstrap) as producer:
        for number in range(num_items):
            producer.announce(catalogue_item(item_id(number), number))


def catalogue_item(name: str, number: int, *further: str, is_available: bool = True) -> Item:
    """Return an item of some category and with a title."""
    title = f"story of {number % 997} and {number % 89}"
    categories = [f"category-{number % CATEGORIES}", *further]
    return Item(item_id=name, title=title, categories=categories, is_available=is_available)


def follow_topics(bootstrap: str, times: LoopTimes, deltas: Deltas, stop: threading.Event) -> None:
    """Note samples and committed deltas as they come."""
    consumer: Any = KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
        isolation_level="read_committed",
    )
    parts = [
        TopicPartition(topic, part)
        for topic in (SAMPLES_TOPIC, DELTAS_TOPIC)
        for part in sorted(consumer.partitions_for_topic(topic))
    ]
    consumer.assign(parts)
    consumer.seek_to_end(*parts)
    while not stop.is_set():
        polled = consumer.poll(timeout_ms=50)
        now_s = time.perf_counter()
        for record in (record for records in polled.values() for record in records):
            if record.topic == DELTAS_TOPIC:
                deltas.num_bytes += len(record.value)
            match decode_record(record.topic, record.partition, record.offset, record.value):
                case SampleSeen(event_id, _, partition, offset):
                    times.samples.setdefault(event_id, SampleAt(partition, offset, now_s))
                case AnnouncementSeen(version, next_offsets):
                    deltas.num += 1
                    times.published.setdefault(version, Published(next_offsets, now_s))
    consumer.close()


async def probe(recommender: AsyncRecommender, times: LoopTimes, latencies_ms: list[float], users: int) -> None:
    """Ask for a list every PROBE_EVERY_S, for ever."""
    number = 0
    while True:
        began_s = time.perf_counter()
        reply = await recommender.recommend(f"user-{number * 7919 % users}", surface="probe")
        now_s = time.perf_counter()
        latencies_ms.append(1000.0 * (now_s - began_s))
        times.served_s.setdefault(reply.model_version, now_s)
        number += 1
        await asyncio.sleep(max(0.0, PROBE_EVERY_S - (now_s - began_s)))


async def time_new_items(recommender: AsyncRecommender, bootstrap: str, found: ItemTimes) -> None:
    """Announce an item of a category of its own, wait until it is ranked, withdraw it, wait until it is gone."""
    with EventProducer(bootstrap) as producer:
        for number in range(1_000_000):
            await asyncio.sleep(NEW_ITEM_EVERY_S)
            name = f"new-{number}"
            for is_there, times_ms in ((True, found.appeared_ms), (False, found.left_ms)):
                record = catalogue_item(name, number, name, is_available=is_there)
                await asyncio.wrap_future(producer.announce(record))
                took_s = await _time_until_listed(recommender, name, is_there)
                if took_s is None:
                    found.given_up += 1
                else:
                    times_ms.append(1000.0 * took_s)


async def _time_until_listed(recommender: AsyncRecommender, name: str, is_there: bool) -> float | None:
    """Ask for the item's own category until it is on the list, or no longer; None where that takes too long."""
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < GIVE_UP_S:
        reply = await recommender.recommend("somebody", 1, "probe", category_filter=[name])
        # By the model alone: a fallback would list it before any weights know it.
        is_listed = any(item.item_id == name for item in reply.items) and bool(reply.model_version)
        if is_listed == is_there:
            return time.perf_counter() - began_s
        await asyncio.sleep(0.02)
    return None


async def measure(endpoints: Endpoints, options: argparse.Namespace) -> dict[str, Any]:
    """Run the load and return the figures."""
    await asyncio.to_thread(announce_items, endpoints.kafka, options.items)
    times, deltas, stop = LoopTimes(), Deltas(), threading.Event()
    follower = threading.Thread(target=follow_topics, args=(endpoints.kafka, times, deltas, stop))
    follower.start()
    load, latencies_ms, items = Load(endpoints.kafka, options, times), list[float](), ItemTimes()
    async with AsyncRecommender(endpoints.serving, deadline_s=10.0) as recommender:
        sending = asyncio.ensure_future(asyncio.to_thread(load.run))
        probing = asyncio.create_task(probe(recommender, times, latencies_ms, options.users))
        arriving = asyncio.create_task(time_new_items(recommender, endpoints.kafka, items))
        await sending
        await asyncio.sleep(10.0)  # What was sent last is learnt, or is counted as open.
        for task in (probing, arriving):
            task.cancel()
        ended = await asyncio.gather(probing, arriving, return_exceptions=True)
    stop.set()
    await asyncio.to_thread(follower.join)
    failures = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
    if failures:
        raise RuntimeError(f"a probe failed: {failures[0]!r}")
    stages_ms = times.stages_ms()
    snapshot = max(_snapshot_sizes(Path(endpoints.model_store)), default=0)
    mean_bytes = deltas.num_bytes / max(deltas.num, 1)
    return {
        "events": load.num_sent,
        "rate": options.rate,
        "teaching": len(times.acked_s),
        "not_in_served_weights": len(times.acked_s) - len(stages_ms[STAGES[-1]]),
        "stages_ms": {stage: percentiles(values) for stage, values in stages_ms.items()},
        "recommend_ms": percentiles(latencies_ms),
        "producer_late_ms": percentiles(load.late_ms),
        "new_item_ranked_ms": percentiles(items.appeared_ms),
        "item_gone_ms": percentiles(items.left_ms),
        "items_given_up": items.given_up,
        "deltas": deltas.num,
        "mean_delta_bytes": round(mean_bytes),
        "snapshot_bytes": snapshot,
        "snapshot_to_delta": round(snapshot / max(mean_bytes, 1.0), 1),
    }


def _snapshot_sizes(store: Path) -> Iterator[int]:
    """Yield the bytes of each snapshot."""
    for manifest in store.glob("*/*/manifest.json"):
        yield sum(file.stat().st_size for file in manifest.parent.iterdir())


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p99 in milliseconds and how many there were."""
    if not values:
        return {"n": 0}
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return {"n": len(values), "p50": round(float(p50), 1), "p90": round(float(p90), 1), "p99": round(float(p99), 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the stack, measure, print JSON; the last line is what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--acts", type=float, default=0.1, help="share of events that teach")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, LocalStack(ROOT / "headrace.yaml", Path(folder) / "state") as stack:
        figures = asyncio.run(measure(stack.start(), options))
    print(json.dumps(figures, indent=2))
    whole = figures["stages_ms"][STAGES[-1]]
    print(f"p50_ms={whole.get('p50')} p99_ms={whole.get('p99')} snapshot_to_delta={figures['snapshot_to_delta']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
