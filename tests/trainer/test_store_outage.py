"""The model store is away, slow, or comes back: learning and deltas go on, and what is published is what was learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.config import AppConfig
from tests.store_places import Place, SwitchedFiles, switched_place
from tests.trainer.conftest import START_MS, make_version
from tests.trainer.memory_topics import MemoryTopics
from tests.trainer.test_publisher import INTERVAL_S, Desk
from tests.trainer.test_restart import Life
from trainer.holds import Holds
from trainer.online_learner import OnlineLearner
from trainer.snapshot import VersionLabel, build_version
from trainer.startup import Places, Startup
from trainer.version_files import ModelVersion
from trainer.version_image import VersionImage


class FarDesk(Desk):
    """A desk whose store is behind a network that fails when a test says so."""

    def __init__(self, app: AppConfig) -> None:
        self.place, self.files = switched_place()
        super().__init__(app, Path("unused"), versions=self.place.store)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Let threads work until something is so."""
        for _ in range(2000):
            if is_so():
                return
            self.publisher.wait(0.0)
            self.publisher.snapshots._closing.wait(0.005)
        pytest.fail("it never came to that")

    def assert_announced_is_followed(self) -> None:
        """Check that the newest announced snapshot and the deltas behind it are what the learner holds."""
        said = self.topics.announced[-1]
        image = self.topics.follow(self.place.store.read(said.version, said.manifest_sha256))
        label = VersionLabel("test", ModelVersion(9, 9), "", {}, START_MS)
        assert image.item_ids == VersionImage(build_version(self.learner, label)).item_ids
        self.assert_followed(image)

    def announced(self) -> list[str]:
        """Return the versions that were announced."""
        return [said.version for said in self.topics.announced]


@pytest.fixture
def desk(app: AppConfig) -> Iterator[FarDesk]:
    """A learner that published one version."""
    made = FarDesk(app)
    made.learn()
    made.publish()
    yield made
    made.files.may_answer.set()
    made.publisher.close()


def test_a_store_behind_a_network_gets_the_same_snapshots(desk: FarDesk) -> None:
    """The opening one, one more when it is due, and what both stand for is what was learnt."""
    desk.now_s += INTERVAL_S
    desk.learn()
    desk.publish()
    desk.until(lambda: desk.publisher.has_unsent)
    desk.publish()
    desk.learn()
    desk.publish()
    assert (desk.announced(), desk.publisher.deltas) == (["1.0", "1.1"], 2)
    desk.assert_announced_is_followed()


def test_deltas_go_on_while_the_store_is_away(desk: FarDesk) -> None:
    """The snapshot that is due fails, is told, is tried again later and not at once; then all is as ever."""
    desk.files.is_down = True
    desk.now_s += INTERVAL_S
    desk.learn()
    desk.publish()
    desk.until(lambda: desk.publisher.has_unsent)
    for _ in range(3):
        desk.learn()
        desk.publish()
    assert (desk.publisher.deltas, desk.publisher.snapshots.failed, desk.announced()) == (3, 1, ["1.0"])
    assert "nobody listens" in desk.publisher.snapshots.error
    desk.files.is_down = False
    desk.now_s += 1.0
    desk.learn()
    desk.publish()
    desk.until(lambda: desk.publisher.has_unsent)
    desk.publish()
    assert (desk.announced()[1:], desk.publisher.snapshots.error) == ([desk.publisher.snapshots.last_version], "")
    desk.assert_announced_is_followed()


def test_deltas_do_not_wait_for_a_store_that_hangs(desk: FarDesk) -> None:
    """Nor does the end of the trainer."""
    desk.files.may_answer.clear()
    desk.now_s += INTERVAL_S
    for _ in range(3):
        desk.learn()
        desk.publish()
    assert (desk.publisher.deltas, desk.publisher.has_unsent, desk.publisher.snapshots.may_write) == (3, False, False)
    desk.publisher.close()


def test_a_chain_is_opened_when_the_store_is_back(app: AppConfig) -> None:
    """Pauses grow from try to try; the version is what was learnt by then."""
    desk = FarDesk(app)
    desk.files.is_down = True
    pauses = []
    for _ in range(3):
        desk.learn()
        desk.publish()
        assert (desk.publisher.needs_snapshot, desk.publisher.snapshots.may_write) == (True, False)
        pauses.append(desk.publisher.snapshots._resting_until_s - desk.now_s)
        desk.now_s += pauses[-1]
    desk.files.is_down = False
    desk.learn()
    desk.publish()
    assert (pauses, desk.announced()) == ([1.0, 2.0, 4.0], ["1.3"])
    desk.assert_announced_is_followed()
    desk.publisher.close()


def test_a_held_version_waits_for_the_store_as_it_is(desk: FarDesk) -> None:
    """Ops must be able to look at it and release it, however long the store was away."""
    desk.files.is_down = True
    desk.publisher.publish(make_version("1.7"), "scores ran away")
    desk.publisher.wait(10.0)
    assert (desk.announced(), desk.publisher.has_unsent, desk.publisher.held) == (["1.0"], True, 1)
    desk.files.is_down = False
    desk.now_s += 1.0
    desk.publisher.retry()
    desk.publisher.wait(10.0)
    said = desk.topics.announced[-1]
    assert (said.version, said.gate, desk.publisher.has_unsent) == ("1.7", "HELD", False)
    assert desk.place.store.read("1.7", said.manifest_sha256).manifest.version == "1.7"


def test_announcements_name_no_place(desk: FarDesk) -> None:
    """Servers know their store: a version is named, by number and digest."""
    assert not {"snapshot_uri", "path", "uri"} & set(desk.topics.announced[0].__struct_fields__)


class FarLife(Life):
    """A state whose versions are behind a network."""

    def __init__(self, app: AppConfig, directory: Path, place: Place, files: SwitchedFiles) -> None:
        super().__init__(app, directory)
        self.files = files
        self.places = Places(directory, place.store)


@pytest.fixture
def life(app: AppConfig, tmp_path: Path) -> FarLife:
    """A stream, an empty state, and a store that can be taken away."""
    return FarLife(app, tmp_path, *switched_place())


def test_a_trainer_starts_again_and_learns_without_the_store(life: FarLife) -> None:
    """It published before, so its epochs are known; status and metrics say what is missing."""
    trainer = life.start()
    trainer.begin()
    trainer.checkpoint()
    trainer.close()
    life.files.is_down = True
    trainer = life.start()
    trainer.begin()
    for _ in range(3):
        trainer.take_turn()
    trainer._status._written_s = 0.0
    trainer.take_turn()
    publishing = life.status()["publishing"]
    assert "nobody listens" in publishing["store_error"]
    assert (publishing["store"], publishing["snapshots"], publishing["store_failed"]) == ("s3://models", 0, 1)
    assert "headrace_trainer_store_away 1.0\n" in life.places.status.with_suffix(".prom").read_text()
    assert life.status()["progress"]["samples"] > 0
    trainer.close()


def test_a_first_start_waits_for_the_store(life: FarLife) -> None:
    """What was never published cannot know which epochs are taken: it goes on once the store answers."""
    life.files.is_down = True
    learner = OnlineLearner(life.app, life.config.learner)
    startup = Startup(learner, life.config, life.places, Holds("test"))
    looks = iter([False, False])
    assert startup.open_trainer(life.log, MemoryTopics(), lambda: next(looks, True), reads_ahead=False) is None
    life.files.is_down = False
    trainer = life.start()
    trainer.begin()
    assert [str(version) for version in life.places.store.versions()] == ["1.0"]
    trainer.close()
