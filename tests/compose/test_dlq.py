"""`headrace dlq` against real brokers: found, shown, mended, sent again, counted once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from compose.dlq_letters import DeadLetter
from compose.dlq_replay import MARKERS_TOPIC
from features.config import load_app_config
from headrace_client import EVENTS_TOPIC, HISTORY_TOPIC, EventProducer
from tests.compose.dead_letters import letter_json
from tests.compose.running_commands import ENVIRONMENT, command, headrace, headrace_json, held
from tests.running_stack import ROOT, RunningStack, wait_for
from tests.streams.event_maker import event, now_ms, plain_counters, row_counters, unique
from tests.streams.topic_io import TopicIo

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
DEAD_LETTERS = "headrace.events.dlq.v1"


@pytest.fixture
def reason() -> str:
    """A reason code that only this test uses."""
    return unique("reason")


@pytest.fixture
def producer(kafka_only: RunningStack) -> Iterator[EventProducer]:
    """Writes dead letters as the job does."""
    with EventProducer(kafka_only.endpoints.kafka) as producer:
        yield producer


def write(producer: EventProducer, reason: str, raws: list[bytes], topic: str = EVENTS_TOPIC) -> None:
    """Write a dead letter for each of these originals, all of them twice: the job may do so after a restart."""
    for raw in raws:
        one = DeadLetter(raw, topic, 0, abs(hash((reason, raw))) % 10**9, reason, now_ms())
        for _ in range(2):
            producer.send_record(DEAD_LETTERS, None, letter_json(one)).result(30)


def encoded(**changes: Any) -> bytes:
    """A good event but for the changes."""
    return json.dumps({**event(unique("user"), "tea"), **changes}).encode()


def test_letters_are_counted_once_and_shown_newest_first(
    kafka_only: RunningStack, producer: EventProducer, reason: str
) -> None:
    """By reason and age; `--raw` gives the bytes back."""
    raws = [encoded(), b"\x1b[2J", b"\xff\x00"]
    write(producer, reason, raws)
    [count] = headrace_json(kafka_only, "dlq", "list", "--reason", reason, "--since", "1h")
    assert (count["topic"], count["count"], count["replayed"]) == (EVENTS_TOPIC, 3, 0)
    shown = headrace(kafka_only, "dlq", "show", "--reason", reason, "--limit", "2")
    assert (shown.stdout.count(reason), "\x1b" in shown.stdout) == (2, False), shown.stderr
    words = command("dlq", "show", "--raw", "--reason", reason, "--endpoints", kafka_only.local.endpoints_path)
    out = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True).stdout
    assert sorted(out.split(b"\n")[:-1]) == sorted(raws)


def test_a_replayed_letter_is_remembered(kafka_only: RunningStack, producer: EventProducer, reason: str) -> None:
    """In Kafka, for every machine: the second replay sends nothing, `--again` sends the same id."""
    write(producer, reason, [encoded(action="clck", event_id=None)])
    replay = ("dlq", "replay", "--reason", reason, "--rename-action", "clck=click")
    assert headrace_json(kafka_only, *replay, "--dry-run")["sent"] == 1
    sent = [headrace_json(kafka_only, *replay, *extra) for extra in ((), (), ("--again",))]
    assert [(each["sent"], each["already_replayed"]) for each in sent] == [(1, 0), (0, 1), (1, 0)]
    [count] = headrace_json(kafka_only, "dlq", "list", "--reason", reason)
    assert (count["count"], count["replayed"]) == (1, 1)
    ids = [marker["event_id"] for marker in held(kafka_only, MARKERS_TOPIC) if marker["reason"] == reason]
    arrived = [one for one in held(kafka_only, EVENTS_TOPIC) if one["event_id"] in ids]
    assert (len(arrived), {one["action"] for one in arrived}, len(set(ids))) == (2, {"click"}, 1)


def test_history_goes_back_to_the_topic_of_history(
    kafka_only: RunningStack, producer: EventProducer, reason: str
) -> None:
    """However old; to the live topic it would only come back."""
    user_id = unique("old")
    write(producer, reason, [encoded(user_id=user_id, event_time_ms=1)], topic=HISTORY_TOPIC)
    assert headrace_json(kafka_only, "dlq", "replay", "--reason", reason)["sent"] == 1
    assert [one["event_time_ms"] for one in held(kafka_only, HISTORY_TOPIC) if one["user_id"] == user_id] == [1]


def test_what_stays_is_said_with_the_reason(kafka_only: RunningStack, producer: EventProducer, reason: str) -> None:
    """In words, exit code 0: nothing failed."""
    write(producer, reason, [b"{", encoded(action="wink")])
    done = headrace(kafka_only, "dlq", "replay", "--reason", reason)
    assert done.returncode == 0, done.stderr
    assert "0 of 2 dead letters sent" in done.stdout
    assert "left, still unknown_action: it would come back" in done.stdout


def test_a_mended_event_counts_once(stack: RunningStack) -> None:
    """The real job refuses it, takes it after the mend, and takes it only once."""
    app, user_id = load_app_config(stack.config_path), unique("user")
    io = TopicIo(stack.endpoints, "headrace.features.user_activity.v1")
    broken = event(user_id, "tea", "clck")
    sent = io.send(EVENTS_TOPIC, user_id, broken)
    place = f"{sent.topic}:{sent.partition}:{sent.offset}"
    wait_for(lambda: headrace_json(stack, "dlq", "show", "--letter", place), "the dead letter", 120)
    for extra in ((), ("--again",)):
        summary = headrace_json(stack, "dlq", "replay", "--letter", place, "--rename-action", "clck=like", *extra)
        assert summary["sent"] == 1
    last = event(user_id, "cup", "view")
    io.send(EVENTS_TOPIC, user_id, last)
    expected = plain_counters(app, [{**broken, "action": "like"}, last])
    io.follow(lambda rows: rows and _equal(row_counters(rows[-1]["counters"]), expected), user_id)
    io.close()


def _equal(left: dict[tuple[int, int], list[float]], right: dict[tuple[int, int], list[float]]) -> bool:
    return left.keys() == right.keys() and all(left[key] == pytest.approx(right[key], rel=1e-9) for key in right)
