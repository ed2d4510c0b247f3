"""An upgrade of the feature set on the real stack: built beside, compared, switched, nothing counted twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from compose.cli import app
from compose.local_stack import LocalStack
from features.config import Endpoints
from tests.running_stack import ROOT
from tests.streams.event_maker import event, unique
from tests.streams.topic_io import EVENTS, TopicIo

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
PARTS = ["kafka", "redis", "jobmanager", "taskmanager-1", "topics", "features-apply", "jobs", "ingester"]
DECLARED = {"user_likes": {"entity": "user", "aggregation": "count", "actions": ["like"]}}
ROWS = "headrace.features.user_activity.v1"


class Upgradable:
    """A stack whose configuration can be changed."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "headrace.yaml"
        self.declare({})
        self.stack = LocalStack(self.config, folder / "state", parts=PARTS)
        self.endpoints: Endpoints = self.stack.start()

    def declare(self, declared: dict[str, Any]) -> None:
        """Write the shipped configuration with these features."""
        data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        data["features"]["declared"] = declared
        data["stack"] = {"taskmanagers": 1, "task_slots": 4}
        self.config.write_text(yaml.safe_dump(data), encoding="utf-8")

    def run(self, *command: str) -> tuple[int, str]:
        """Run `headrace streams …`; return exit code and output."""
        places = ["--config", str(self.config), "--endpoints", str(self.stack.endpoints_path)]
        try:
            done = CliRunner().invoke(app, ["streams", *command, *places], catch_exceptions=False)
        except Exception as error:  # `main` turns these into sentences; their text is what matters here.
            return 1, str(error)
        return done.exit_code, done.stdout


@pytest.fixture(scope="module")
def upgradable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgradable]:
    """The stack, with three likes of one user and a click counted before anything changes."""
    upgradable = Upgradable(tmp_path_factory.mktemp("upgrade"))
    with upgradable.stack:
        yield upgradable


def _row(upgradable: Upgradable, user_id: str, events: list[dict[str, Any]], is_complete: Any) -> dict[str, Any]:
    io = TopicIo(upgradable.endpoints, ROWS)
    try:
        io.send_all(EVENTS, events)
        return io.follow(lambda rows: rows and is_complete(rows[-1]), user_id)[-1]
    finally:
        io.close()


def test_a_new_feature_counts_from_the_beginning_and_nothing_twice(upgradable: Upgradable) -> None:
    """After the switch the row has the new number, over events from before and after it, and the old counters."""
    user_id = unique("user")
    before = [event(user_id, f"i{n}", "like") for n in range(3)] + [event(user_id, "i9", "click")]
    _row(upgradable, user_id, before, lambda row: len(row["history_item_ids"]) == 4)
    upgradable.declare(DECLARED)
    code, output = upgradable.run("upgrade", "--json")
    assert code == 0, output
    assert json.loads(output)["was_needed"]
    row = _row(upgradable, user_id, [event(user_id, "i5", "like")], lambda row: len(row["history_item_ids"]) == 5)
    assert row["features"] == {"user_likes": [4.0]}


def test_the_same_configuration_needs_no_upgrade(upgradable: Upgradable) -> None:
    """What runs already is left alone."""
    upgradable.declare(DECLARED)
    assert "nothing to upgrade" in upgradable.run("upgrade")[1]


def test_a_changed_meaning_is_refused_before_anything_is_built(upgradable: Upgradable) -> None:
    """One name says one thing; the running job is not touched."""
    upgradable.declare({"user_likes": {**DECLARED["user_likes"], "actions": ["click"]}})
    code, output = upgradable.run("upgrade")
    upgradable.declare(DECLARED)
    assert code == 1
    assert "new name" in output


def test_a_savepoint_is_gone_on_from(upgradable: Upgradable) -> None:
    """Counters from before the savepoint are still there after the restore."""
    user_id = unique("user")
    _row(upgradable, user_id, [event(user_id, "i1", "like")], lambda row: row["features"]["user_likes"] == [1.0])
    _, path = upgradable.run("savepoint", "feature", "--stop")
    code, output = upgradable.run("restore", "feature", path.strip())
    assert code == 0, output
    row = _row(upgradable, user_id, [event(user_id, "i2", "like")], lambda row: len(row["history_item_ids"]) == 2)
    assert row["features"]["user_likes"] == [2.0]
