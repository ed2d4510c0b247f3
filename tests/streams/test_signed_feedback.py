"""Request tokens on the real stack: both jobs take feedback that proves what was shown, and no other."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.flink_cluster import flink_environment
from compose.local_stack import LocalStack
from compose.part import Part, python_module
from features.request_keys import add_request_key
from serving.security.request_tokens import RequestTokens
from tests.running_stack import ROOT, RunningStack
from tests.streams.event_maker import event, now_ms, served, unique
from tests.streams.topic_io import BACKFILL, DEAD_LETTERS, EVENTS, SAMPLES, SERVED, TopicIo

pytestmark = pytest.mark.stack
CONFIG = Path(__file__).with_name("signed.yaml")
SERVERS = ("kafka", "topics", "jobmanager", "taskmanager-1", "taskmanager-2")
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A small stack of its own: Kafka, Flink and both jobs."""
    if not (ROOT / ".jars" / "flink").is_dir():
        pytest.skip(".jars/flink is missing; run `make setup`")
    jobs = Part("both-jobs", python_module("streams"), needs=SERVERS[1:], environment=flink_environment)
    folder = tmp_path_factory.mktemp("signed") / "state"
    with LocalStack(CONFIG, folder, parts=SERVERS, extra_parts=[jobs]) as local:
        yield RunningStack(local, CONFIG, local.start())


@pytest.fixture
def tokens(signed: RunningStack) -> RequestTokens:
    """Signs as a server of this stack does."""
    return RequestTokens(_keys_of(signed))


@pytest.fixture
def samples(signed: RunningStack) -> Iterator[TopicIo]:
    """Follows the samples."""
    opened = TopicIo(signed.endpoints, SAMPLES)
    yield opened
    opened.close()


@pytest.fixture
def letters(signed: RunningStack) -> Iterator[TopicIo]:
    """Follows the dead letters."""
    opened = TopicIo(signed.endpoints, DEAD_LETTERS)
    yield opened
    opened.close()


def _keys_of(stack: RunningStack) -> Path:
    return Path(stack.endpoints.state) / "request-keys.json"


def _shown(io: TopicIo) -> dict[str, Any]:
    shown = served(unique("user"), ["a", "b"])
    io.send(SERVED, shown["request_id"], shown)
    return shown


def _feedback(shown: dict[str, Any], token: str, item_id: str = "a", **changes: Any) -> dict[str, Any]:
    fields = {"request_id": shown["request_id"], "request_token": token, **changes}
    return event(fields.pop("user_id", shown["user_id"]), item_id, **fields)


def test_only_proven_feedback_corrects_its_list(tokens: RequestTokens, samples: TopicIo, letters: TopicIo) -> None:
    """Forged, for another item, replayed for another user, expired, without a token: dead letters, and no samples."""
    shown = _shown(samples)
    request_id, user_id = shown["request_id"], shown["user_id"]
    good = tokens.sign(request_id, user_id, ["a", "b"], now_ms())
    old = tokens.sign(request_id, user_id, ["a", "b"], now_ms() - 2 * HOUR_MS)
    bad = [
        _feedback(shown, good[:-6] + "AAAAAA"),
        _feedback(shown, good, "c"),
        _feedback(shown, good, user_id=unique("eve")),
        _feedback(shown, old),
        _feedback(shown, ""),
        _feedback(shown, good, request_token=7),
    ]
    for one in bad:
        samples.send(EVENTS, one["user_id"], one)
    rows = letters.follow(lambda rows: len(_unproven(rows, bad)) == len(bad))
    assert {row["reason"] for row in rows if _event_of(row) in bad} == {"bad_token"}
    samples.send(EVENTS, user_id, _feedback(shown, good, "b"))
    seen = samples.follow(_has_correction, user_id)
    [correction] = [row for row in seen if row["kind"] == "correction"]
    assert {item["item_id"]: item["labels"] for item in correction["items"] if item.get("labels")} == {
        "b": {"click": 1.0}
    }
    assert [row["kind"] for row in seen if row["kind"] == "organic"] == []


def test_events_without_a_list_and_history_need_no_token(samples: TopicIo) -> None:
    """They claim nothing of a list: history counts as organic, whatever list it names."""
    shown = _shown(samples)
    user_id = shown["user_id"]
    for topic, one in ((EVENTS, event(user_id, "a")), (BACKFILL, _feedback(shown, ""))):
        samples.send(topic, user_id, one)
        rows = samples.follow(_has_organic, user_id)
        assert _event_ids(rows) == [one["event_id"]]


def test_a_rotated_key_is_followed_by_running_jobs(signed: RunningStack, samples: TopicIo) -> None:
    """Nothing restarts: feedback under the new key counts, and under the old one what was shown before."""
    before = _shown(samples)
    old = RequestTokens(_keys_of(signed)).sign(before["request_id"], before["user_id"], ["a"], now_ms())
    add_request_key(_keys_of(signed))
    after = _shown(samples)
    new = RequestTokens(_keys_of(signed)).sign(after["request_id"], after["user_id"], ["a"], now_ms())
    for shown, token in ((after, new), (before, old)):
        samples.send(EVENTS, shown["user_id"], _feedback(shown, token))
        samples.follow(_has_correction, shown["user_id"])


def _has_organic(rows: list[dict[str, Any]]) -> bool:
    return bool(_event_ids(rows))


def _event_ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["event_id"] for row in rows if row["kind"] == "organic"]


def _has_correction(rows: list[dict[str, Any]]) -> bool:
    return any(row["kind"] == "correction" for row in rows)


def _event_of(letter: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(letter["raw"]))


def _unproven(rows: list[dict[str, Any]], bad: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["reason"] == "bad_token" and _event_of(row) in bad]
