"""The examples of the client package run as they are printed, against a real Kafka."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

from tests.compose.running_commands import ENVIRONMENT, held
from tests.running_stack import ROOT, RunningStack

pytestmark = pytest.mark.stack
EXAMPLES = ROOT / "compose" / "client" / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one example to its end."""
    words = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)


def test_an_event_is_in_kafka_when_the_example_says_so(kafka_only: RunningStack) -> None:
    """With an id and a time of its own."""
    user_id = uuid.uuid4().hex
    done = run("send_event.py", kafka_only.endpoints.kafka, user_id, "tea", "like")
    assert (done.returncode, done.stdout[:13]) == (0, "Kafka has it:"), done.stderr
    [event] = [one for one in held(kafka_only, "headrace.events.v1") if one["user_id"] == user_id]
    assert (event["item_id"], event["action"], event["context"]) == ("tea", "like", {"page": "example"})
    assert event["event_id"]
    assert event["event_time_ms"] > 0


def test_items_are_announced_changed_and_taken_away(kafka_only: RunningStack) -> None:
    """The newest announcement of each is what counts."""
    done = run("announce_items.py", kafka_only.endpoints.kafka)
    assert (done.returncode, done.stdout) == (0, "5 announcements acknowledged\n"), done.stderr
    newest = {item["item_id"]: item for item in held(kafka_only, "headrace.items.v1")}
    assert newest["green-tea"]["categories"] == ["drinks", "tea"]
    assert (newest["cup"]["is_available"], newest["cup"]["attributes"]) == (False, {"colour": "blue"})


def test_many_events_are_all_acknowledged(kafka_only: RunningStack) -> None:
    """Far more than may be on their way at once; run twice they have the same ids."""
    for _ in range(2):
        done = run("send_many.py", kafka_only.endpoints.kafka, "12000")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("12000 acknowledged, 0 lost, ")
    ids = {one["event_id"] for one in held(kafka_only, "headrace.events.v1") if one["event_id"].startswith("example-")}
    assert len(ids) == 12_000


ARGUMENTS = {"send_event.py": ["u", "i", "like"], "announce_items.py": [], "send_many.py": ["5"]}
APPS = {"fastapi_app.py"}
"""Run by an ASGI server, see `test_client_package.py`."""


def test_every_example_is_tried() -> None:
    """A new one is a program with arguments here, or an app."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == ARGUMENTS.keys() | APPS


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_an_example_without_kafka_says_so(name: str) -> None:
    """Wrong usage is exit code 2, a missing broker 1; neither is a traceback."""
    arguments = ARGUMENTS[name]
    for done, code, said in ((run(name), 2, "usage: "), (run(name, "127.0.0.1:1", *arguments), 1, "no Kafka broker")):
        assert done.returncode == code
        assert said in done.stderr
        assert "Traceback" not in done.stderr
