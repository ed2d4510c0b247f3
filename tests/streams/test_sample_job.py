"""The sample job on the real stack: what served lists and events become."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running_stack import RunningStack
from tests.streams.event_maker import event, now_ms, served, unique
from tests.streams.topic_io import BACKFILL, DEAD_LETTERS, EVENTS, SAMPLES, SERVED, TopicIo, restarts
from trainer.samples import decode_sample

pytestmark = pytest.mark.stack


@pytest.fixture
def io(stack: RunningStack) -> Iterator[TopicIo]:
    """Follows the samples."""
    opened = TopicIo(stack.endpoints, SAMPLES)
    yield opened
    opened.close()


@pytest.fixture
def letters(stack: RunningStack) -> Iterator[TopicIo]:
    """Follows the dead letters."""
    opened = TopicIo(stack.endpoints, DEAD_LETTERS)
    yield opened
    opened.close()


def count(number: int) -> Any:
    """Complete when `number` samples came."""
    return lambda rows: len(rows) >= number


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    """The samples' kinds, sorted."""
    return sorted(row["kind"] for row in rows)


def test_a_list_is_an_impression_at_once(io: TopicIo) -> None:
    """Nothing is known about its items yet; rows and times are those of the served record."""
    shown = served(unique("user"), ["a", "b"])
    sent = io.send(SERVED, shown["request_id"], shown)
    sample = io.follow(count(1), shown["user_id"])[0]
    assert [item["item_id"] for item in sample["items"]] == ["a", "b"]
    assert [item["row"] for item in sample["items"]] == [[0.0, 0.5], [1.0, 0.5]]
    assert not any("labels" in item for item in sample["items"])
    assert ("impression", shown["request_id"], "hash") == tuple(
        sample[k] for k in ("kind", "sample_id", "feature_schema_hash")
    )
    assert (shown["served_time_ms"], sent.record_time_ms) == (sample["served_time_ms"], sample["broker_time_ms"])


def test_late_click_joins_its_impression(io: TopicIo) -> None:
    """The correction brings the clicked item first, labelled, and the whole list behind it."""
    shown = served(unique("user"), ["a", "b", "c"])
    io.send(SERVED, shown["request_id"], shown)
    io.follow(count(1), shown["user_id"])
    click = event(shown["user_id"], "b", request_id=shown["request_id"], value=3.0)
    sent = io.send(EVENTS, shown["user_id"], click)
    sample = io.follow(count(1), shown["user_id"])[0]
    labels = [(item["item_id"], item["position"], item.get("labels")) for item in sample["items"]]
    assert labels == [("b", 1, {"click": 1.0}), ("a", 0, None), ("b", 1, None), ("c", 2, None)]
    assert ("correction", click["event_id"], "click", 1) == tuple(
        sample[k] for k in ("kind", "event_id", "action", "outcome")
    )
    assert (3.0, sent.record_time_ms) == (sample["value"], sample["broker_time_ms"])
    assert decode_sample(json.dumps(sample).encode()).items[0].item_id == "b"


def test_a_click_before_its_served_record_waits(io: TopicIo) -> None:
    """Either side of the join may come first."""
    shown = served(unique("user"), ["a", "b"])
    io.send(EVENTS, shown["user_id"], event(shown["user_id"], "a", request_id=shown["request_id"]))
    marker = event(shown["user_id"], "x")
    io.send(EVENTS, shown["user_id"], marker)
    assert kinds(io.follow(count(1), shown["user_id"])) == ["organic"]
    io.send(SERVED, shown["request_id"], shown)
    assert kinds(io.follow(count(2), shown["user_id"])) == ["correction", "impression"]


@pytest.mark.parametrize(("action", "labels"), [("view", None), ("dislike", {"dislike": 0.0})])
def test_feedback_of_each_outcome_is_one_correction(io: TopicIo, action: str, labels: dict[str, float] | None) -> None:
    """A negative labels its item 0, a neutral one nothing; duplicates add no sample."""
    shown = served(unique("user"), ["a", "b"])
    io.send(SERVED, shown["request_id"], shown)
    feedback = event(shown["user_id"], "a", action, request_id=shown["request_id"])
    io.send_all(EVENTS, [feedback, feedback, event(shown["user_id"], "end")])
    rows = io.follow(lambda rows: "organic" in kinds(rows) and len(rows) >= 3, shown["user_id"])
    corrections = [row for row in rows if row["kind"] == "correction"]
    assert [labels] == [row["items"][0].get("labels") for row in corrections]


def test_an_event_without_a_list_is_organic(io: TopicIo) -> None:
    """One item, no ranker inputs, the event's own context."""
    one = event(unique("user"), "a", "rating", value=4.5, context={"page": "a", 'odd "key"': "back\\slash é"})
    sent = io.send(EVENTS, one["user_id"], one)
    sample = io.follow(count(1), one["user_id"])[0]
    assert sample["items"] == [{"item_id": "a", "position": 0, "propensity": 1.0, "labels": {"rating": 1.0}}]
    assert one["context"] == sample["context"]
    assert (one["event_id"], 4.5, 1, sent.record_time_ms) == tuple(
        sample[k] for k in ("sample_id", "value", "outcome", "broker_time_ms")
    )


@pytest.mark.parametrize("case", ["not on the list", "another user's list", "a surface that does not learn"])
def test_feedback_that_its_list_cannot_explain_is_organic(io: TopicIo, case: str) -> None:
    """The event counts once and labels no item of the list."""
    user_id, other = unique("user"), unique("user")
    shown = served(other if case.startswith("another") else user_id, ["a", "b"], learn=not case.startswith("a surface"))
    io.send(SERVED, shown["request_id"], shown)
    item_id = "z" if case.startswith("not") else "a"
    io.send(EVENTS, user_id, event(user_id, item_id, request_id=shown["request_id"]))
    io.send(EVENTS, user_id, event(user_id, "end"))
    rows = io.follow(lambda rows: {item_id, "end"} <= {row["items"][0]["item_id"] for row in rows if _is_organic(row)})
    ours = [row for row in rows if row["user_id"] == user_id]
    expected = ["impression", "organic", "organic"] if case.startswith("not") else ["organic", "organic"]
    assert expected == kinds(ours)


def _is_organic(row: dict[str, Any]) -> bool:
    return bool(row["kind"] == "organic")


def test_the_same_action_twice_makes_two_corrections(io: TopicIo) -> None:
    """Two ids are two events; that the label is learnt once is the learner's business."""
    shown = served(unique("user"), ["a", "b"])
    io.send(SERVED, shown["request_id"], shown)
    clicks = [event(shown["user_id"], "a", request_id=shown["request_id"]) for _ in range(2)]
    io.send_all(EVENTS, clicks)
    rows = io.follow(count(3), shown["user_id"])
    assert {row["event_id"] for row in rows if row["kind"] == "correction"} == {c["event_id"] for c in clicks}


def test_samples_of_lists_say_the_policy_they_were_made_under(io: TopicIo) -> None:
    """The learner weighs by it; an organic sample has none."""
    shown = served(unique("user"), ["a", "b"])
    io.send(SERVED, shown["request_id"], shown)
    io.send_all(EVENTS, [event(shown["user_id"], "a", request_id=shown["request_id"]), event(shown["user_id"], "b")])
    policies = {row["kind"]: row.get("label_policy") for row in io.follow(count(3), shown["user_id"])}
    assert policies == {"impression": "immediate", "correction": "immediate", "organic": None}


def test_feedback_after_the_horizon_is_a_dead_letter(io: TopicIo, letters: TopicIo) -> None:
    """It labels nothing; its original bytes and place are kept. One just inside the horizon corrects."""
    user_id = unique("user")
    ages_ms = (90_000_000, 86_000_000)
    lists = [served(user_id, ["a"], served_time_ms=now_ms() - age_ms) for age_ms in ages_ms]
    clicks = [event(user_id, "a", request_id=shown["request_id"]) for shown in lists]
    for shown in lists:
        io.send(SERVED, shown["request_id"], shown)
    late, _ = [io.send(EVENTS, user_id, click) for click in clicks]
    rows = io.follow(lambda rows: "correction" in kinds(rows), user_id)
    assert [row["request_id"] for row in rows if row["kind"] == "correction"] == [lists[1]["request_id"]]
    letter = letters.follow(lambda rows: any(row["reason"] == "after_horizon" for row in rows))[-1]
    assert json.loads(base64.b64decode(letter["raw"])) == clicks[0]
    place = (late.topic, late.partition, late.offset, late.record_time_ms)
    assert tuple(letter[k] for k in ("topic", "partition", "offset", "record_time_ms")) == place


def test_history_is_organic_whatever_list_it_names(io: TopicIo) -> None:
    """Events of the backfill topic belong to lists that nobody kept."""
    past = event(unique("user"), "a", age_ms=90 * 86_400_000, request_id=unique("request"))
    io.send(BACKFILL, past["user_id"], past)
    assert kinds(io.follow(count(1), past["user_id"])) == ["organic"]


def test_an_item_shown_twice_makes_one_correction(io: TopicIo) -> None:
    """The first place it was shown at takes the label."""
    shown = served(unique("user"), ["a", "b", "b"])
    io.send(SERVED, shown["request_id"], shown)
    io.send(EVENTS, shown["user_id"], event(shown["user_id"], "b", request_id=shown["request_id"]))
    rows = io.follow(count(2), shown["user_id"])
    assert [row["items"][0]["position"] for row in rows if row["kind"] == "correction"] == [1]


def test_broken_served_records_restart_nothing(io: TopicIo, stack: RunningStack) -> None:
    """They are passed over; the next good list is an impression."""
    before = restarts(stack.endpoints)
    good = served(unique("user"), ["a"])
    broken = [b"", None, b"\xff", b"[1]", b"null", b'{"items": 5, "learn": true}', b'{"user_row": ["x"]}']
    changes: list[dict[str, Any]] = [{"items": []}, {"request_id": ""}, {"items": [None]}]
    changes += [{"request_id": unique("request"), "served_time_ms": time_ms} for time_ms in ("x", 10**30)]
    broken += [json.dumps(good | change).encode() for change in changes]
    for value in broken:
        io.send(SERVED, "broken", value)
    io.send(SERVED, good["request_id"], good | {"request_id": unique("request")})
    assert "impression" in kinds(io.follow(count(1), good["user_id"]))
    assert before == restarts(stack.endpoints)
