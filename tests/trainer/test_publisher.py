"""A version is in the store before it is announced, and an announcement is never lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from tests.trainer.conftest import make_version
from trainer.publisher import Announcement, Publisher, next_epoch
from trainer.snapshot import CANARY_BOUND
from trainer.version_files import list_versions, read_version, write_version


class Kafka:
    """Takes announcements, or refuses them while it is down."""

    def __init__(self, store_dir: Path) -> None:
        self.store_dir = store_dir
        self.is_down = False
        self.said: list[Announcement] = []

    def announce(self, key: str, value: bytes) -> None:
        """Take one announcement; its version must be readable by now."""
        if self.is_down:
            raise TimeoutError("no broker")
        announcement = msgspec.json.decode(value, type=Announcement)
        assert key == announcement.name
        read_version(self.store_dir, announcement.version, announcement.manifest_sha256)
        self.said.append(announcement)


def _publisher(kafka: Kafka, keep: int = 3) -> Publisher:
    return Publisher(kafka.store_dir, kafka.announce, keep_newest=keep, keep_minutes=0.0)


def test_announced_versions_can_be_read(tmp_path: Path) -> None:
    """Snapshot first, announcement after it, with the digest that verifies."""
    kafka = Kafka(tmp_path)
    publisher = _publisher(kafka)
    publisher.publish(make_version("1.0"))
    publisher.close()
    assert [(said.version, said.gate) for said in kafka.said] == [("1.0", "PASSED")]


def test_announcement_waits_for_kafka(tmp_path: Path) -> None:
    """While the broker is down versions are written; afterwards the newest is announced."""
    kafka = Kafka(tmp_path)
    publisher = _publisher(kafka)
    kafka.is_down = True
    publisher.publish(make_version("1.0"))
    publisher.wait(10.0)
    assert publisher.has_unannounced
    kafka.is_down = False
    publisher.retry_announcement()
    publisher.close()
    assert [said.version for said in kafka.said] == ["1.0"]
    assert not publisher.has_unannounced


def test_runaway_weights_are_held(tmp_path: Path) -> None:
    """A canary score beyond the bound is announced as HELD, with the number in the reason."""
    kafka = Kafka(tmp_path)
    publisher = _publisher(kafka)
    good = make_version("1.0")
    manifest = msgspec.structs.replace(good.manifest, canary_scores=(0.0, 2 * CANARY_BOUND))
    publisher.publish(replace(good, manifest=manifest))
    publisher.close()
    assert (kafka.said[0].gate, publisher.held) == ("HELD", 1)
    assert "100" in kafka.said[0].gate_reason


def test_weights_that_are_not_finite_are_not_published(tmp_path: Path) -> None:
    """NaN never reaches the store."""
    kafka = Kafka(tmp_path)
    publisher = _publisher(kafka)
    publisher.publish(replace(make_version("1.0"), dense={"w": np.array([np.nan], dtype=np.float32)}))
    publisher.close()
    assert (kafka.said, list_versions(tmp_path), publisher.failed) == ([], [], 1)


def test_old_versions_are_pruned(tmp_path: Path) -> None:
    """The store does not grow without bound."""
    kafka = Kafka(tmp_path)
    publisher = _publisher(kafka, keep=2)
    for seq in range(4):
        publisher.publish(make_version(f"1.{seq}"))
        publisher.wait(10.0)
    publisher.close()
    assert [str(version) for version in list_versions(tmp_path)] == ["1.2", "1.3"]


def test_every_start_opens_a_new_epoch(tmp_path: Path) -> None:
    """One above what the store and the checkpoint know, even where the store was emptied."""
    assert next_epoch(tmp_path / "none", "") == 1
    write_version(tmp_path, make_version("4.9"))
    assert next_epoch(tmp_path, "3.2") == 5
    assert next_epoch(tmp_path / "none", "7.1") == 8
