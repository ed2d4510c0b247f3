"""How fresh features and samples are under load: `python tests/bench/bench_freshness.py --rate 1000 --seconds 300`.

Real Kafka, Flink, ingester and Redis. An open-loop producer sends events at the rate asked for; every 20 ms one of
them is a probe of a user of its own, timed from Kafka's acknowledgement to the row in Redis that carries it (the read
that the server makes). Ten served lists a second get one click each, timed from the send to its correction on
`headrace.samples.v1`. Prints both with p50, p90, p99, and how far the producer fell behind its own schedule.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.demo.feature_probe import FeatureFreshness, UserRowTimes  # noqa: E402
from compose.local_stack import LocalStack  # noqa: E402
from features.config import Endpoints, load_app_config  # noqa: E402
from features.feast_rows import feast_project  # noqa: E402
from features.model_inputs import feature_schema_hash, ranker_input_names  # noqa: E402

CONFIG = ROOT / "headrace.yaml"
PARTS = ["kafka", "redis", "jobmanager", "taskmanager-1", "topics", "features-apply", "jobs", "ingester"]
SAMPLES, SERVED, EVENTS = "headrace.samples.v1", "headrace.served.v1", "headrace.events.v1"
USERS, ITEMS, LIST_SIZE = 20_000, 5_000, 20
PROBE_EVERY_S = 0.02
LISTS_PER_S = 10
WARM_UP_S = 20.0
_LATE_S = 0.05
"""From here on the producer's own delay is worth a line in the timeline."""


class _SampleHead(msgspec.Struct):
    sample_id: str
    kind: str


@dataclass
class Timeline:
    """What arrived when and how late, for whoever asks what a late one waited for (checkpoints, collections)."""

    path: Path | None
    lines: list[str] = field(default_factory=list)

    def note(self, what: str, late_ms: float) -> None:
        """Note an arrival of this moment."""
        if self.path:
            self.lines.append(json.dumps({"at_s": time.time(), "what": what, "late_ms": round(late_ms, 1)}))

    def write(self) -> None:
        """Write the file, where one was asked for."""
        if self.path:
            self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


@dataclass
class Clicks:
    """Clicks on their way to becoming corrections."""

    timeline: Timeline
    sent_s: dict[str, float] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def follow(self, bootstrap: str, stop: threading.Event) -> None:
        """Note when each correction arrives."""
        consumer: Any = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=10)
        parts = [TopicPartition(SAMPLES, number) for number in range(4)]
        consumer.assign(parts)
        consumer.seek_to_end(*parts)
        decode = msgspec.json.Decoder(_SampleHead).decode
        while not stop.is_set():
            for records in consumer.poll(timeout_ms=50).values():
                now_s = time.perf_counter()
                for record in records:
                    head = decode(record.value)
                    sent_s = self.sent_s.pop(head.sample_id, None) if head.kind == "correction" else None
                    if sent_s is not None:
                        self.latencies_ms.append(1000.0 * (now_s - sent_s))
                        self.timeline.note("click", self.latencies_ms[-1])
        consumer.close()


class Load:
    """Sends events at a rate, probes and lists among them.

    Args:
        endpoints: the running stack.
        loop: where probes are timed.
        freshness: times them.
        clicks: told of clicks.
        num_inputs: ranker inputs of a served row.
        schema_hash: of served rows.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        loop: asyncio.AbstractEventLoop,
        freshness: FeatureFreshness,
        clicks: Clicks,
        num_inputs: int,
        schema_hash: str,
    ) -> None:
        self._producer = KafkaProducer(bootstrap_servers=endpoints.kafka, linger_ms=2)
        self._loop, self._freshness, self._clicks = loop, freshness, clicks
        self._row, self._schema_hash = [0.1] * num_inputs, schema_hash
        self._rng = np.random.default_rng(5)
        self._run = f"{time.time_ns():x}"
        self.late_ms: list[float] = []
        self.is_measuring = False

    def run(self, rate: float, seconds: float) -> int:
        """Send for WARM_UP_S + `seconds`; return the number of events."""
        started_s = time.perf_counter()
        total = int(rate * (WARM_UP_S + seconds))
        probe_every, list_every = max(1, round(rate * PROBE_EVERY_S)), max(1, round(rate / LISTS_PER_S))
        for number in range(total):
            due_s = started_s + number / rate
            late_s = time.perf_counter() - due_s
            if late_s < 0:
                time.sleep(-late_s)
            self.is_measuring = number > rate * WARM_UP_S
            self.late_ms.append(max(0.0, 1000.0 * late_s))
            if late_s > _LATE_S:
                self._clicks.timeline.note("producer", self.late_ms[-1])
            if number % list_every == 0:
                self._send_list(number)
            if number % probe_every == 0 and self.is_measuring:
                self._send_probe(number)
            else:
                self._send(self._event(number, f"u{self._rng.integers(USERS)}"))
        self._producer.flush()
        return total

    def close(self) -> None:
        """Close the producer."""
        self._producer.close()

    def _event(self, number: int, user_id: str, **fields: Any) -> dict[str, Any]:
        item = int(ITEMS * self._rng.random() ** 3)
        required = {"event_id": f"{self._run}-{number}", "user_id": user_id, "item_id": f"i{item}", "action": "click"}
        return {**required, "event_time_ms": time.time_ns() // 1_000_000, **fields}

    def _send(self, event: dict[str, Any]) -> Any:
        return self._producer.send(EVENTS, key=event["user_id"].encode(), value=msgspec.json.encode(event))

    def _send_probe(self, number: int) -> None:
        event = self._event(number, f"probe-{self._run}-{number}")

        def acked(_metadata: object) -> None:
            timing = self._time_probe(event["user_id"], event["event_time_ms"], time.perf_counter())
            asyncio.run_coroutine_threadsafe(timing, self._loop)

        self._send(event).add_callback(acked)

    async def _time_probe(self, user_id: str, event_time_ms: int, acked_s: float) -> None:
        await self._freshness.time_event(user_id, event_time_ms, acked_s)
        self._clicks.timeline.note("probe", 1000.0 * (time.perf_counter() - acked_s))

    def _send_list(self, number: int) -> None:
        user_id, request_id = f"u{self._rng.integers(USERS)}", f"r-{self._run}-{number}"
        items = [
            {"item_id": f"i{item}", "position": place, "score": 0.0, "propensity": 1.0, "source": "x", "row": self._row}
            for place, item in enumerate(self._rng.choice(ITEMS, LIST_SIZE, replace=False).tolist())
        ]
        served = {
            "request_id": request_id,
            "user_id": user_id,
            "surface": "default",
            "served_time_ms": time.time_ns() // 1_000_000,
            "feature_schema_hash": self._schema_hash,
            "items": items,
            "learn": True,
        }
        self._producer.send(SERVED, key=request_id.encode(), value=msgspec.json.encode(served)).get(10)
        fields = {"item_id": items[3]["item_id"], "request_id": request_id, "event_id": f"{request_id}-click"}
        click = self._event(number, user_id, **fields)
        if self.is_measuring:
            # Before the acknowledgement: the correction may be faster than the callback.
            self._clicks.sent_s[click["event_id"]] = time.perf_counter()
        self._send(click)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p99 in milliseconds and how many there were."""
    if not values:
        return {"n": 0}
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return {"n": len(values), "p50": round(float(p50), 1), "p90": round(float(p90), 1), "p99": round(float(p99), 1)}


async def measure(endpoints: Endpoints, rate: float, seconds: float, timeline: Timeline) -> dict[str, Any]:
    """Run the load and return the figures."""
    app = load_app_config(CONFIG)
    rows = UserRowTimes(endpoints.redis, feast_project(app))
    freshness, clicks, stop = FeatureFreshness(rows.read), Clicks(timeline), threading.Event()
    follower = threading.Thread(target=clicks.follow, args=(endpoints.kafka, stop))
    follower.start()
    names, schema_hash = ranker_input_names(app.features), feature_schema_hash(app.features)
    load = Load(endpoints, asyncio.get_running_loop(), freshness, clicks, len(names), schema_hash)
    events = await asyncio.to_thread(load.run, rate, seconds)
    await asyncio.sleep(12.0)  # Longer than a probe waits before it gives up.
    stop.set()
    await asyncio.to_thread(follower.join)
    await asyncio.to_thread(load.close)
    await rows.close()
    timeline.write()
    return {
        "events": events,
        "rate": rate,
        "event_to_feature_ms": percentiles(freshness.latencies_ms),
        "probes_given_up": freshness.num_given_up,
        "click_to_positive_sample_ms": percentiles(clicks.latencies_ms),
        "clicks_without_sample": len(clicks.sent_s),
        "producer_late_ms": percentiles(load.late_ms),
    }


def write_config(folder: Path, heap_mb: int | None, jvm_compiler: str | None) -> Path:
    """Write the shipped configuration with another TaskManager."""
    data = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    asked = {"taskmanager_heap_mb": heap_mb, "jvm_compiler": jvm_compiler}
    data["stack"] = {**data.get("stack", {}), **{name: value for name, value in asked.items() if value is not None}}
    path = folder / CONFIG.name
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the parts, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--heap-mb", type=int, help="of the TaskManager; as shipped by default")
    parser.add_argument("--jvm-compiler", choices=("quick", "full"), help="as shipped by default")
    parser.add_argument("--timeline", type=Path, help="write what arrived when and how late, as JSON lines")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), options.heap_mb, options.jvm_compiler)
        with LocalStack(config, Path(folder) / "state", parts=PARTS) as stack:
            figures = asyncio.run(measure(stack.start(), options.rate, options.seconds, Timeline(options.timeline)))
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
