"""An upgrade of the feature set on the real stack: built beside, compared, switched, nothing counted twice."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from compose.cli import app
from compose.local_stack import LocalStack
from features.config import Endpoints, load_app_config
from features.store import open_store
from tests.running_stack import ROOT, wait_for
from tests.streams.event_maker import event, unique
from tests.streams.topic_io import DEAD_LETTERS as LETTERS
from tests.streams.topic_io import EVENTS, SAMPLES, TopicIo

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]
PARTS = ["kafka", "redis", "jobmanager", "taskmanager-1", "topics", "features-apply", "jobs", "ingester"]
DECLARED = {"user_likes": {"entity": "user", "aggregation": "count", "actions": ["like"]}}
CART = {"cart": {"outcome": "positive", "reward": 3.0}}
ROWS = "headrace.features.user_activity.v1"


class Upgradable:
    """A stack whose configuration can be changed."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "headrace.yaml"
        self.declare({})
        self.stack = LocalStack(self.config, folder / "state", parts=PARTS)
        self.endpoints: Endpoints = self.stack.start()

    def declare(self, declared: dict[str, Any], actions: dict[str, Any] | None = None) -> None:
        """Write the shipped configuration with these features and more actions."""
        data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        data["features"]["declared"] = declared
        data["actions"] |= actions or {}
        data["stack"] = {"taskmanagers": 1, "task_slots": 4, "start_timeout_s": 600}
        data["streams"] = {"submit_timeout_s": 400, "checkpoint_interval_ms": 2000}
        self.config.write_text(yaml.safe_dump(data), encoding="utf-8")

    def run(self, *command: str) -> tuple[int, str]:
        """Run `headrace …`; return exit code and output."""
        places = ["--config", str(self.config), "--endpoints", str(self.stack.endpoints_path)]
        try:
            done = CliRunner().invoke(app, [*command, *places], catch_exceptions=False)
        except Exception as error:  # `main` turns these into sentences; their text is what matters here.
            return 1, str(error)
        return done.exit_code, done.stdout

    def read(self, user_id: str, feature: str) -> Any:
        """Read a feature through Feast."""
        store = open_store(self.endpoints, load_app_config(self.config))
        rows = store.get_online_features(features=[f"user_activity:{feature}"], entity_rows=[{"user_id": user_id}])
        return rows.to_dict()[feature][0]


@pytest.fixture(scope="module")
def upgradable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgradable]:
    """The stack, running the shipped features."""
    upgradable = Upgradable(tmp_path_factory.mktemp("upgrade"))
    with upgradable.stack:
        yield upgradable


def _row(upgradable: Upgradable, user_id: str, events: list[dict[str, Any]], is_complete: Any) -> dict[str, Any]:
    return _written(upgradable, ROWS, user_id, events, is_complete)


def _written(
    upgradable: Upgradable, topic: str, user_id: str | None, events: list[dict[str, Any]], is_complete: Any
) -> dict[str, Any]:
    io = TopicIo(upgradable.endpoints, topic)
    try:
        io.send_all(EVENTS, events)
        return io.follow(lambda rows: rows and is_complete(rows[-1]), user_id)[-1]
    finally:
        io.close()


@contextmanager
def _traffic(upgradable: Upgradable) -> Iterator[None]:
    """Events of a few users, all the time: their rows never rest."""
    stop, io = threading.Event(), TopicIo(upgradable.endpoints, ROWS)
    busy = [unique("busy") for _ in range(3)]

    def send() -> None:
        for number in itertools.count():
            if stop.wait(0.05):
                return
            io.send_all(EVENTS, [event(busy[number % 3], f"i{number % 7}", "click")])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        io.close()


def test_a_new_feature_counts_from_the_beginning_for_everybody(upgradable: Upgradable) -> None:
    """Built under traffic; a user who stays silent has it in Feast, one who goes on has nothing counted twice."""
    user_id, silent_id = unique("user"), unique("silent")
    for one in (user_id, silent_id):
        before = [event(one, f"i{n}", "like") for n in range(3)] + [event(one, "i9", "click")]
        _row(upgradable, one, before, lambda row: len(row["history_item_ids"]) == 4)
    upgradable.declare(DECLARED)
    with _traffic(upgradable):
        code, output = upgradable.run("streams", "upgrade", "--json")
    assert code == 0, output
    summary = json.loads(output)
    assert (summary["jobs"], summary["rows_different"]) == (["feature"], 0)
    assert summary["rows_equal"] >= 2
    assert upgradable.stack.restarts("ingester") == 1  # It reads the features from the configuration at its start.
    assert {status.name for status in upgradable.stack.statuses if not status.is_up} == set()
    wait_for(lambda: upgradable.read(silent_id, "user_likes") == [3.0], "the silent user's feature", timeout_s=180)
    row = _row(upgradable, user_id, [event(user_id, "i5", "like")], lambda row: len(row["history_item_ids"]) == 5)
    assert row["features"] == {"user_likes": [4.0]}


def test_the_same_configuration_needs_no_upgrade(upgradable: Upgradable) -> None:
    """What runs already is left alone."""
    upgradable.declare(DECLARED)
    assert "nothing to upgrade" in upgradable.run("streams", "upgrade")[1]


def test_a_changed_meaning_is_refused_before_anything_is_built(upgradable: Upgradable) -> None:
    """One name says one thing; the running job is not touched."""
    upgradable.declare({"user_likes": {**DECLARED["user_likes"], "actions": ["click"]}})
    code, output = upgradable.run("streams", "upgrade")
    upgradable.declare(DECLARED)
    assert code == 1
    assert "new name" in output


def test_a_new_action_reaches_both_jobs_and_a_refusal_nothing(upgradable: Upgradable) -> None:
    """Its events came before it was declared: rows differ, which is refused first and leaves Feast as it was."""
    user_id = unique("user")
    _written(upgradable, LETTERS, None, [event(user_id, "i1", "cart")], lambda letter: letter["reason"])
    declared = DECLARED | {"user_carts": {"entity": "user", "aggregation": "count", "actions": ["cart"]}}
    _row(upgradable, user_id, [event(user_id, "i2", "like")], lambda row: row["history_item_ids"] == ["i2"])
    upgradable.declare(declared, CART)
    code, output = upgradable.run("dlq", "replay", "--reason", "unknown_action")
    assert (code, "another configuration" in output) == (1, True)
    code, output = upgradable.run("streams", "upgrade")
    assert (code, "--accept-differences" in output) == (1, True), output
    upgradable.declare(DECLARED)  # What a refusal had registered could not be taken away again.
    assert "nothing to upgrade" in upgradable.run("streams", "upgrade")[1]
    upgradable.declare(declared, CART)
    code, output = upgradable.run("streams", "upgrade", "--accept-differences", "--json")
    assert code == 0, output
    assert json.loads(output)["jobs"] == ["feature", "sample"]
    cart = event(user_id, "i3", "cart")
    sample = _written(upgradable, SAMPLES, user_id, [cart], lambda sample: sample["sample_id"] == cart["event_id"])
    assert sample["items"][0]["labels"] == {"cart": 1.0}
    wait_for(lambda: upgradable.read(user_id, "user_carts") == [2.0], "both carts counted", timeout_s=180)


def test_a_savepoint_is_gone_on_from(upgradable: Upgradable) -> None:
    """Counters from before are still there after the restore; another job's savepoint is refused and stops nothing."""
    user_id = unique("user")
    _row(upgradable, user_id, [event(user_id, "i1", "like")], lambda row: row["features"]["user_likes"] == [1.0])
    _, path = upgradable.run("streams", "savepoint", "feature", "--stop")
    code, output = upgradable.run("streams", "restore", "sample", path.strip())
    assert (code, "of the feature_job" in output) == (1, True), output
    code, output = upgradable.run("streams", "restore", "feature", path.strip())
    assert code == 0, output
    row = _row(upgradable, user_id, [event(user_id, "i2", "like")], lambda row: len(row["history_item_ids"]) == 2)
    assert row["features"]["user_likes"] == [2.0]
