"""Delayed labels on the real stack: a sample job of its own under policy `wait`, with a window of three seconds."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.flink_cluster import flink_environment
from compose.local_stack import LocalStack
from compose.part import Part, python_module
from features.config import load_app_config
from features.label_config import Labels, load_labels
from tests.running_stack import ROOT, RunningStack, wait_for
from tests.streams.event_maker import event, served, unique
from tests.streams.topic_io import DEAD_LETTERS, EVENTS, SAMPLES, SERVED, TopicIo, flink_json
from trainer.samples import decode_sample

pytestmark = pytest.mark.stack
CONFIG = Path(__file__).with_name("waiting.yaml")
WINDOW_MS = 3000
SERVERS = ("kafka", "topics", "jobmanager", "taskmanager-1")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A small stack of its own: Kafka, Flink and the sample job."""
    if not (ROOT / ".jars" / "flink").is_dir():
        pytest.skip(".jars/flink is missing; run `make setup`")
    job = Part(
        "sample-job", python_module("streams", "--job", "sample"), needs=SERVERS[1:], environment=flink_environment
    )
    folder = tmp_path_factory.mktemp("waiting") / "state"
    with LocalStack(CONFIG, folder, parts=SERVERS, extra_parts=[job]) as local:
        yield RunningStack(local, CONFIG, local.start())


@pytest.fixture
def io(waiting: RunningStack) -> Iterator[TopicIo]:
    """Follows the samples."""
    opened = TopicIo(waiting.endpoints, SAMPLES)
    yield opened
    opened.close()


@pytest.fixture
def letters(waiting: RunningStack) -> Iterator[TopicIo]:
    """Follows the dead letters."""
    opened = TopicIo(waiting.endpoints, DEAD_LETTERS)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def labels() -> Labels:
    """The labels that the job was made from."""
    return load_labels(CONFIG, load_app_config(CONFIG))


def _has(kind: str, number: int = 1) -> Any:
    return lambda rows: sum(row["kind"] == kind for row in rows) >= number


def test_an_impression_waits_for_its_window_and_a_positive_does_not(io: TopicIo) -> None:
    """The window closes by the clock: nothing else happens meanwhile."""
    shown = served(unique("user"), ["a", "b"])
    sent = io.send(SERVED, shown["request_id"], shown)
    io.send(EVENTS, shown["user_id"], event(shown["user_id"], "b", request_id=shown["request_id"]))
    correction, impression = io.follow(_has("impression"), shown["user_id"])
    assert (correction["kind"], correction["items"][0]["labels"]) == ("correction", {"click": 1.0})
    assert [item["item_id"] for item in impression["items"]] == ["a", "b"]
    assert {"wait"} == {row["label_policy"] for row in (correction, impression)}
    assert (sent.record_time_ms, shown["request_id"]) == (impression["broker_time_ms"], impression["sample_id"])


def test_a_positive_after_the_window_still_corrects(io: TopicIo) -> None:
    """Late is not lost: until the horizon the list is known."""
    shown = served(unique("user"), ["a", "b"])
    io.send(SERVED, shown["request_id"], shown)
    io.follow(_has("impression"), shown["user_id"])
    io.send(EVENTS, shown["user_id"], event(shown["user_id"], "a", request_id=shown["request_id"]))
    assert io.follow(_has("correction"), shown["user_id"])[0]["items"][0]["item_id"] == "a"


def test_a_list_that_does_not_learn_is_no_impression_after_its_window(io: TopicIo) -> None:
    """A probe leaves no sample; the list served after it does."""
    user_id = unique("user")
    for learn in (False, True):
        shown = served(user_id, ["a"], learn=learn)
        io.send(SERVED, shown["request_id"], shown)
    assert [row["request_id"] for row in io.follow(_has("impression"), user_id)] == [shown["request_id"]]


def test_feedback_to_no_list_is_a_dead_letter_after_the_window(letters: TopicIo, io: TopicIo) -> None:
    """It is kept byte for byte with its place; a copy of it is no second letter, and neither is a sample."""
    lost = event(unique("user"), "a", request_id=unique("request"), context={"mood": 'é \\ "'})
    sent = letters.send(EVENTS, lost["user_id"], lost)
    letters.send(EVENTS, lost["user_id"], lost)
    end = event(lost["user_id"], "end", request_id=unique("request"))
    letters.send(EVENTS, lost["user_id"], end)
    rows = letters.follow(lambda rows: any(_event_of(row) == end for row in rows))
    ours = [row for row in rows if _event_of(row) == lost]
    places = [(row["reason"], row["topic"], row["partition"], row["offset"]) for row in ours]
    assert places == [("unknown_request", sent.topic, sent.partition, sent.offset)]


def _event_of(letter: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(letter["raw"]))


def test_feedback_before_its_list_is_no_dead_letter(io: TopicIo, letters: TopicIo) -> None:
    """It waits for the list, corrects it, and is forgotten by the waiting room."""
    shown = served(unique("user"), ["a", "b"])
    io.send(EVENTS, shown["user_id"], event(shown["user_id"], "a", request_id=shown["request_id"]))
    lost = event(shown["user_id"], "a", request_id=unique("request"))
    io.send(EVENTS, shown["user_id"], lost)
    io.send(SERVED, shown["request_id"], shown)
    io.follow(_has("correction"), shown["user_id"])
    rows = letters.follow(lambda rows: any(_event_of(row) == lost for row in rows))
    assert shown["request_id"] not in {_event_of(row)["request_id"] for row in rows}


def test_the_jobs_labels_are_those_of_python(io: TopicIo, labels: Labels) -> None:
    """Every action with every value, on a list and organic: SQL and `labels_of` say the same."""
    shown = served(unique("user"), ["a"])
    io.send(SERVED, shown["request_id"], shown)
    actions = ("view", "click", "purchase", "dismiss", "rating")
    pairs = [(action, value) for action in actions for value in (None, 1.0, 2.0, 4.0, 5, 29.999, 30)]
    fields: list[dict[str, Any]] = [{} if value is None else {"value": value} for _, value in pairs]
    for extra in ({"request_id": shown["request_id"]}, {}):
        sent = [event(shown["user_id"], "a", pair[0], **f, **extra) for pair, f in zip(pairs, fields, strict=True)]
        io.send_all(EVENTS, sent)
    rows = [row for row in io.follow(_is_all(2 * len(pairs)), shown["user_id"]) if row["kind"] != "impression"]
    said = {(row["kind"], row["action"], row.get("value")): row["items"][0].get("labels", {}) for row in rows}
    assert said == {
        (kind, action, value): labels.labels_of(action, value, 0)
        for kind in ("correction", "organic")
        for action, value in pairs
    }


def _is_all(number: int) -> Any:
    return lambda rows: sum(row["kind"] != "impression" for row in rows) >= number


@pytest.mark.parametrize("stop", ["kill", "restore"])
def test_what_waits_survives(io: TopicIo, letters: TopicIo, waiting: RunningStack, stop: str) -> None:
    """A list and feedback that stand in a checkpoint come out behind a killed TaskManager and behind a restore."""
    shown = served(unique("user"), ["a"])
    lost = event(shown["user_id"], "a", request_id=unique("request"))
    io.send(SERVED, shown["request_id"], shown)
    sent = io.send(EVENTS, shown["user_id"], lost)
    job_id = wait_for(lambda: _job_with_checkpoint(waiting, sent.record_time_ms + 300), "a checkpoint of both")
    {"kill": _kill_taskmanager, "restore": _restore_job}[stop](waiting, job_id)
    impression = io.follow(_has("impression"), shown["user_id"])[0]
    assert decode_sample(json.dumps(impression).encode()).request_id == shown["request_id"]
    assert letters.follow(lambda rows: any(_event_of(row) == lost for row in rows))


def _job_with_checkpoint(waiting: RunningStack, after_ms: int) -> str:
    """Return the id of the running job once it has a checkpoint that began after `after_ms`, else nothing."""
    jobs = flink_json(waiting.endpoints, "/jobs/overview")["jobs"]
    job_id = str(next(job["jid"] for job in jobs if job["state"] == "RUNNING"))
    newest = flink_json(waiting.endpoints, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
    return job_id if newest and newest["trigger_timestamp"] > after_ms else ""


def _kill_taskmanager(waiting: RunningStack, _job_id: str) -> None:
    before = waiting.local.restarts("taskmanager-1")
    os.kill(waiting.local.pid_of("taskmanager-1"), signal.SIGKILL)
    waiting.local.wait_ready("taskmanager-1", timeout_s=90, after_restarts=before + 1)


def _restore_job(waiting: RunningStack, job_id: str) -> None:
    cancel = urllib.request.Request(f"http://{waiting.endpoints.flink}/jobs/{job_id}", method="PATCH")
    urllib.request.urlopen(cancel, timeout=10).close()
    wait_for(lambda: flink_json(waiting.endpoints, f"/jobs/{job_id}")["state"] == "CANCELED", "the end of the job")
    files = ["--config", str(CONFIG), "--endpoints", str(waiting.local.endpoints_path)]
    subprocess.run([sys.executable, "-m", "streams", "--job", "sample", "--restore", *files], cwd=ROOT, check=True)
