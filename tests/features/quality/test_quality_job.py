"""The quality job on a real Kafka: profiles, a hold while the window is open, orders, and a kill in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from compose.local_stack import LocalStack
from compose.quality import QualityDesk
from features.quality.hold_table import RELEASE_ORDER
from features.quality.open_windows import EVENTS_TOPIC
from features.quality.profile import HELD, QUALITY_TOPIC, RELEASED, Profile, decode_profile
from tests.running_stack import ROOT, wait_for

pytestmark = pytest.mark.stack

CONFIG = """
actions: {view: {}, click: {outcome: positive}}
quality:
  window_s: 30
  judge_every_s: 0.2
  grace_s: 0.5
  min_reference_windows: 5
  trailing_windows: 10
"""


@dataclass
class Watched:
    """A broker with topics, and the job's process."""

    stack: LocalStack
    config_path: Path
    servers: str
    job: subprocess.Popen[bytes] | None = None

    def start_job(self) -> None:
        """Start the job."""
        command = [sys.executable, "-m", "features.quality", "--config", str(self.config_path)]
        command += ["--endpoints", str(self.stack.endpoints_path)]
        with self.log_path.open("ab") as log:
            self.job = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    @property
    def log_path(self) -> Path:
        """What the job said."""
        return self.config_path.with_name("quality.log")

    def end_job(self, number: signal.Signals) -> None:
        """End the job by its process id."""
        assert self.job is not None
        os.kill(self.job.pid, number)
        self.job.wait(timeout=20)

    def profiles(self) -> list[Profile]:
        """Read all records of the quality topic."""
        return [decode_profile(value) for value in read_all(self.servers, QUALITY_TOPIC)]

    def send(self, first: int, size: int, action: str = "view", timestamp_ms: int | None = None) -> None:
        """Produce events; every fifth is a click unless `action` says otherwise."""
        producer: Any = KafkaProducer(bootstrap_servers=self.servers)
        now_ms = time.time_ns() // 1_000_000
        for number in range(first, first + size):
            event: dict[str, Any] = {
                "event_id": f"e{number}",
                "user_id": f"u{number % 97}",
                "item_id": f"i{number % 31}",
                "action": action if action != "view" or number % 5 else "click",
                "event_time_ms": now_ms,
            }
            producer.send(EVENTS_TOPIC, key=event["user_id"].encode(), value=msgspec.json.encode(event))
        producer.flush()
        producer.close()


def read_all(servers: str, topic: str) -> list[bytes]:
    """Read a topic of one partition to its end."""
    consumer: Any = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    part = TopicPartition(topic, 0)
    consumer.assign([part])
    consumer.seek_to_beginning(part)
    end, values = consumer.end_offsets([part])[part], []
    while consumer.position(part) < end:
        values += [r.value for records in consumer.poll(timeout_ms=500).values() for r in records]
    consumer.close()
    return values


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A broker and a job with windows of half a minute."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    folder = tmp_path_factory.mktemp("quality")
    config_path = folder / "headrace.yaml"
    config_path.write_text(CONFIG, encoding="utf-8")
    with LocalStack(config_path, folder / "state", parts=["kafka", "topics"]) as stack:
        watched = Watched(stack, config_path, stack.start().kafka)
        past_of(watched)
        try:
            yield watched
        finally:
            if watched.job is not None and watched.job.poll() is None:
                watched.end_job(signal.SIGTERM)


def past_of(watched: Watched) -> None:
    """Write profiles of quiet windows as an earlier job would have."""
    producer: Any = KafkaProducer(bootstrap_servers=watched.servers)
    now_ms = time.time_ns() // 30_000_000_000 * 30_000 - 30_000
    for number in range(10):
        end_ms = now_ms - 30_000 * (9 - number)
        profile = Profile(
            window_start_ms=end_ms - 30_000,
            window_end_ms=end_ms,
            is_final=True,
            state="CLEAN",
            records=500,
            events=500,
            actions={"view": 400, "click": 100},
            positives=100,
            users=97,
            items=31,
            top_user_events=6,
            top_users_events=60,
            top_item_events=18,
            item_buckets=[8] * 64,
        )
        producer.send(QUALITY_TOPIC, key=str(profile.window_start_ms).encode(), value=msgspec.json.encode(profile))
    producer.flush()
    producer.close()


def test_flood_is_held_while_open_and_once_final_after_a_kill(watched: Watched) -> None:
    """A flood of clicks is held within seconds; killed with -9 the job counts the open window again, whole."""
    watched.start_job()
    wait_for(lambda: b"READY quality\n" in watched.log_path.read_bytes(), "the job's READY")
    wait_for(lambda: time.time() % 30 < 20, "a window with time left")
    watched.send(0, 400, action="click")
    early = wait_for(lambda: [p for p in watched.profiles() if p.state == HELD], "a provisional hold")[0]
    assert not early.is_final
    watched.end_job(signal.SIGKILL)
    watched.start_job()
    held = wait_for(lambda: [p for p in watched.profiles() if p.state == HELD and p.is_final], "a final hold")[0]
    assert (held.records, held.positives, held.duplicates) == (400, 400, 0)
    assert sum(r.to_offset - r.from_offset for name, r in held.offsets.items() if EVENTS_TOPIC in name) == 400


def test_order_of_ops_releases_the_window(watched: Watched) -> None:
    """`headrace quality release` reaches the job, which tells the new state; a second release is refused."""
    desk = QualityDesk(watched.servers, "headrace")
    held = [window for window in desk.windows(10) if window.state == HELD]
    desk.order(RELEASE_ORDER, held[0].window_start_ms, held[-1].window_start_ms)
    wait_for(lambda: [p for p in watched.profiles() if p.state == RELEASED], "the job's word on it")
    assert {window.state for window in desk.windows(10)} == {RELEASED}
    with pytest.raises(Exception, match="nothing to release"):
        desk.order(RELEASE_ORDER, held[0].window_start_ms, held[0].window_start_ms)
