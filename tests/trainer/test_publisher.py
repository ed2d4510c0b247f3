"""Snapshots open a chain, deltas continue it, and what stands in store and topics is what the learner held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.config import AppConfig
from tests.trainer.conftest import START_MS, make_version, sample_stream
from tests.trainer.memory_topics import MemoryTopics
from trainer.config import LearnerConfig, UserRowsConfig
from trainer.errors import FencedError
from trainer.gate_checks import CANARY_BOUND, canary_faults
from trainer.online_learner import OnlineLearner
from trainer.publisher import Publisher, next_epoch
from trainer.snapshot import VersionLabel, build_cut, build_version
from trainer.version_delta import DTYPES
from trainer.version_files import LocalVersions, ModelVersion, VersionStore, list_versions, read_version
from trainer.version_image import VersionImage

INTERVAL_S = 100.0


class Desk:
    """A learner, its publisher, and the topics; versions are cut when a test says so, and the clock is the test's."""

    def __init__(
        self, app: AppConfig, store: Path, max_users: int = 1000, versions: VersionStore | None = None
    ) -> None:
        rows = UserRowsConfig(max_rows=max_users)
        self.learner = OnlineLearner(app, LearnerConfig(embedding_dim=8, retrieval_negatives=16, user_rows=rows))
        self.store = store
        self.topics = MemoryTopics()
        self.now_s = 0.0
        self.durable: list[str] = []
        self.publisher = Publisher(
            versions or LocalVersions(store),
            self.topics,
            2,
            INTERVAL_S,
            lambda: self.durable.append("sync"),
            lambda: self.now_s,
        )
        self._seq = 0
        self._stream = iter(sample_stream(OnlineLearner(app, self.learner.config), 400))

    def learn(self, size: int = 20) -> None:
        """Learn a micro-batch."""
        self.learner.learn_batch([next(self._stream) for _ in range(size)])

    def publish(self) -> None:
        """Publish what the learner is now as the trainer does, and wait for it."""
        label = VersionLabel("test", ModelVersion(1, self._seq), "", {"samples:0": self._seq}, START_MS)
        self._seq += 1
        if self.publisher.needs_snapshot:
            self.publisher.publish(build_version(self.learner, label))
        elif self.publisher.has_unsent:
            self.publisher.retry()
        else:
            self.publisher.publish_delta(build_cut(self.learner, label))
        self.publisher.wait(30.0)

    def assert_followed(self, image: VersionImage) -> None:
        """Check that an image is, number for number, what the learner would copy out whole."""
        label = VersionLabel("test", ModelVersion(9, 9), "", {}, START_MS)
        expected = VersionImage(build_version(self.learner, label))
        assert (image.item_ids, image.user_ids) == (expected.item_ids, expected.user_ids)
        for name in DTYPES:
            np.testing.assert_array_equal(image.tensor(name), expected.tensor(name), err_msg=name)
        for name, tensor in expected.dense.items():
            np.testing.assert_array_equal(image.dense[name], tensor, err_msg=name)
        np.testing.assert_array_equal(image.canary_inputs, expected.canary_inputs)


@pytest.fixture
def desk(app: AppConfig, tmp_path: Path) -> Desk:
    """A learner that knows nothing yet."""
    return Desk(app, tmp_path)


@pytest.mark.parametrize("max_users", [1000, 5], ids=["roomy", "evicting"])
def test_who_follows_the_deltas_holds_what_was_learnt(app: AppConfig, tmp_path: Path, max_users: int) -> None:
    """Items and users come, rows go and are taken by others: after every delta the chain gives the same numbers."""
    desk = Desk(app, tmp_path, max_users)
    desk.learn()
    desk.publish()
    for turn in range(8):
        desk.learn()
        if turn == 3:
            desk.learner.builder.set_item("announced", "a title of words", ["c1"], published_time_ms=START_MS)
        desk.publish()
    assert desk.publisher.deltas == 8
    desk.assert_followed(desk.topics.newest(tmp_path))


def test_a_touched_row_that_nobody_marked_would_be_missed(desk: Desk) -> None:
    """The comparison above can fail."""
    desk.learn()
    desk.publish()
    desk.learner.builder.counts.seen_ms[0] += 1
    desk.learn(0)
    desk.publish()
    with pytest.raises(AssertionError, match="seen_ms"):
        desk.assert_followed(desk.topics.newest(desk.store))


def test_a_delta_holds_only_what_changed(desk: Desk) -> None:
    """After one sample far less travels than a snapshot holds."""
    for _ in range(10):
        desk.learn()
    desk.publish()
    desk.learn(1)
    desk.publish()
    image = desk.topics.newest(desk.store)
    assert image.manifest.parent_version == "1.0"
    assert 0 < desk.publisher.last_delta_bytes < desk.publisher.snapshots.last_bytes / 2


def test_a_chain_can_be_entered_at_a_later_snapshot(desk: Desk) -> None:
    """A snapshot of the chain says where deltas go on, and ends where they end."""
    desk.learn()
    desk.publish()
    desk.learn()
    desk.now_s += INTERVAL_S
    desk.publish()
    assert [said.version for said in desk.topics.announced] == ["1.0", "1.1"]
    desk.learn()
    desk.publish()
    later = read_version(desk.store, "1.1", desk.topics.announced[1].manifest_sha256)
    assert later.manifest.delta_sha256 == later.chain_sha256 != later.manifest_sha256
    desk.assert_followed(desk.topics.follow(later))
    desk.assert_followed(desk.topics.follow(read_version(desk.store, "1.0")))


def test_what_was_learnt_is_durable_before_it_is_seen(desk: Desk) -> None:
    """The batch log is synced before a snapshot and before a delta; where it cannot be, nothing is sent."""
    desk.learn()
    desk.publish()
    desk.learn()
    desk.publish()
    assert desk.durable == ["sync", "sync"]
    desk.publisher._make_durable = _refuse
    desk.learn()
    desk.publish()
    assert (desk.publisher.deltas, desk.publisher.failed, desk.publisher.needs_snapshot) == (1, 1, True)


def _refuse() -> None:
    raise OSError("no space left on device")


def test_a_delta_waits_for_kafka(desk: Desk) -> None:
    """It is sent when the broker is back, and the next one continues it."""
    desk.learn()
    desk.publish()
    desk.topics.is_down = True
    desk.learn()
    desk.publish()
    assert desk.publisher.has_unsent
    desk.learn()
    desk.publish()
    desk.topics.is_down = False
    desk.publish()
    desk.learn()
    desk.publish()
    assert (desk.publisher.deltas, desk.publisher.has_unsent) == (2, False)
    desk.assert_followed(desk.topics.newest(desk.store))


def test_snapshots_go_on_while_kafka_is_away(desk: Desk) -> None:
    """After an interval without Kafka the store gets a new beginning, announced when Kafka is back."""
    desk.learn()
    desk.publish()
    desk.topics.is_down = True
    desk.learn()
    desk.publish()
    desk.now_s += INTERVAL_S
    desk.learn()
    desk.publish()
    assert [str(version) for version in list_versions(desk.store)] == ["1.0", "1.2"]
    desk.topics.is_down = False
    desk.publish()
    desk.learn()
    desk.publish()
    assert [said.version for said in desk.topics.announced] == ["1.0", "1.2"]
    desk.assert_followed(desk.topics.newest(desk.store))


def test_announcement_waits_for_kafka(desk: Desk) -> None:
    """A snapshot written while the broker is down is announced afterwards."""
    desk.topics.is_down = True
    desk.publish()
    assert desk.publisher.has_unsent
    desk.topics.is_down = False
    desk.publish()
    assert [said.version for said in desk.topics.announced] == ["1.0"]
    assert not desk.publisher.has_unsent


def test_runaway_weights_are_held(desk: Desk) -> None:
    """A canary score beyond the bound is announced as HELD, with the number in the reason, and opens no chain."""
    (reason,) = canary_faults(np.array([0.0, 2 * CANARY_BOUND]))
    desk.publisher.publish(make_version("1.0"), reason)
    desk.publisher.close()
    said = desk.topics.announced[0]
    assert (said.gate, desk.publisher.held, desk.publisher.needs_snapshot) == ("HELD", 1, True)
    assert "100" in said.gate_reason


def test_weights_that_are_not_finite_are_not_published(desk: Desk) -> None:
    """NaN reaches neither the store nor the topic."""
    desk.learn()
    desk.publish()
    cut = build_cut(desk.learner, VersionLabel("test", ModelVersion(1, 1), "", {}, START_MS))
    spoilt = {name: np.full_like(tensor, np.nan) for name, tensor in cut.dense.items()}
    desk.publisher.publish_delta(replace(cut, dense=spoilt))
    desk.publisher.wait(10.0)
    assert (desk.topics.records, desk.publisher.failed, desk.publisher.needs_snapshot) == ([], 1, True)
    desk.publisher.publish(replace(make_version("1.2"), dense={"w": np.array([np.nan], dtype=np.float32)}))
    desk.publisher.close()
    assert [str(version) for version in list_versions(desk.store)] == ["1.0"]


def test_old_snapshots_go_and_with_them_their_deltas(desk: Desk) -> None:
    """Two snapshots are kept; the topic begins where the older one goes on."""
    for _ in range(4):
        desk.learn()
        desk.publish()
        desk.now_s += INTERVAL_S
    assert [str(version) for version in list_versions(desk.store)] == ["1.2", "1.3"]
    kept = read_version(desk.store, "1.2")
    assert desk.topics.first == kept.manifest.delta_offset > 0
    desk.assert_followed(desk.topics.follow(kept))


class FencedTopics(MemoryTopics):
    """Another trainer took over."""

    def send_delta(self, key: str, records: Sequence[bytes]) -> int:
        """Refuse."""
        raise FencedError("another trainer publishes")


def test_a_fenced_publisher_says_so(desk: Desk) -> None:
    """Nothing is tried again: the trainer ends."""
    desk.learn()
    desk.publish()
    desk.publisher._topics = FencedTopics()
    desk.publish()
    assert isinstance(desk.publisher.fence, FencedError)


def test_every_start_opens_a_new_epoch() -> None:
    """One above what the store and the checkpoint know, even where the store was emptied."""
    assert next_epoch([], "") == 1
    assert next_epoch([ModelVersion(3, 7), ModelVersion(4, 9)], "3.2") == 5
    assert next_epoch([], "7.1") == 8


def test_the_last_version_that_may_serve_outlives_any_number_of_held_ones(desk: Desk) -> None:
    """Each start while a version is held writes one more: none of them pushes the good one out."""
    desk.learn()
    desk.publish()
    for seq in range(1, 5):
        desk.publisher.publish(make_version(f"1.{seq}"), "scores ran away")
        desk.publisher.wait(10.0)
    assert [str(version) for version in list_versions(desk.store)] == ["1.0", "1.3", "1.4"]
