"""The feature job on the real stack, against plain Python over the same events."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compose.event_counts import event_counts
from features.config import EPOCH_HALF_LIVES, AppConfig, load_app_config
from tests.running_stack import RunningStack, wait_for
from tests.streams.event_maker import event, now_ms, plain_counters, row_counters, served, unique
from tests.streams.topic_io import BACKFILL, DEAD_LETTERS, EVENTS, ITEMS, SERVED, Sent, TopicIo, flink_json, restarts

pytestmark = pytest.mark.stack
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Opener = Callable[[str], TopicIo]


@pytest.fixture(scope="module")
def app(stack: RunningStack) -> AppConfig:
    """The configuration that the running jobs were made from."""
    return load_app_config(stack.config_path)


@pytest.fixture
def opened(stack: RunningStack) -> Iterator[Opener]:
    """Opens `TopicIo`s on feature views or topics."""
    open_ones: list[TopicIo] = []

    def open_topic(name: str) -> TopicIo:
        topic = name if name.startswith("headrace.") else f"headrace.features.{name}.v1"
        open_ones.append(TopicIo(stack.endpoints, topic))
        return open_ones[-1]

    yield open_topic
    for one in open_ones:
        one.close()


def _mixed_events(user_id: str, item_id: str, max_age_ms: int, count: int) -> list[dict[str, Any]]:
    """Events of all kinds, out of order, every fifth sent twice."""
    rng = random.Random(7)
    actions = ["view", "click", "like", "dislike"]
    events = [event(user_id, item_id, rng.choice(actions), rng.randrange(max_age_ms)) for _ in range(count)]
    events += [event(user_id, item_id, "rating", rng.randrange(max_age_ms), value=v) for v in (1.0, 4.0, 5)]
    events += events[::5]
    rng.shuffle(events)
    return events


@pytest.mark.parametrize("entity", ["user", "item"])
def test_counters_equal_plain_python_across_epochs(opened: Opener, app: AppConfig, entity: str) -> None:
    """Out of order, with duplicates, over many epochs of the short half-lives: the sums are those of the set."""
    io = opened(f"{entity}_activity")
    ids = {"user": unique("user"), "item": unique("item")}
    events = _mixed_events(ids["user"], ids["item"], 20 * HOUR_MS, 80)
    io.send_all(EVENTS, events)
    _assert_counters(io, ids[entity], plain_counters(app, events))


def test_backfill_has_no_age_limit_and_crosses_the_longest_epoch(opened: Opener, app: AppConfig) -> None:
    """Nineteen years: the longest half-life is sixty days, its epochs are of 2,400."""
    io = opened("user_activity")
    user_id = unique("user")
    events = _mixed_events(user_id, unique("item"), 7_000 * DAY_MS, 60)
    io.send_all(BACKFILL, events)
    _assert_counters(io, user_id, plain_counters(app, events))


def _assert_counters(io: TopicIo, entity_id: str, expected: dict[tuple[int, int], list[float]]) -> None:
    def is_equal(rows: list[dict[str, Any]]) -> bool:
        return bool(rows) and _close(row_counters(rows[-1]["counters"]), expected)

    rows = io.follow(is_equal, entity_id)
    assert {entity_id} == {row["entity_id"] for row in rows}


def _close(left: dict[tuple[int, int], list[float]], right: dict[tuple[int, int], list[float]]) -> bool:
    return left.keys() == right.keys() and all(left[key] == pytest.approx(right[key], rel=1e-9) for key in right)


def test_duplicates_count_once(opened: Opener, app: AppConfig) -> None:
    """The first record of an event_id is the event; copies change nothing, whatever they say."""
    io = opened("item_activity")
    item_id = unique("item")
    first = event(unique("user"), item_id, "view")
    io.send_all(EVENTS, [first, first, {**first, "action": "like"}])
    last = event(first["user_id"], item_id, "view")
    io.send_all(EVENTS, [last])
    _assert_counters(io, item_id, plain_counters(app, [first, last]))


def test_a_backlog_makes_fewer_messages_than_events(opened: Opener, app: AppConfig) -> None:
    """Old events that come together are folded into few messages of their user, and none of them is lost."""
    io = opened("user_activity")
    user_id = unique("user")
    events = [event(user_id, unique("item"), "click", HOUR_MS + number) for number in range(400)]
    io.send_all(EVENTS, events)
    expected = plain_counters(app, events)
    rows = io.follow(lambda rows: rows and _close(row_counters(rows[-1]["counters"]), expected), user_id)
    assert len(rows) < len(events) / 2


def test_an_event_ahead_of_the_broker_is_clamped(opened: Opener) -> None:
    """A clock that is a year ahead must not freeze its user's row."""
    io = opened("user_activity")
    early = event(unique("user"), "i1", age_ms=-365 * DAY_MS)
    sent = io.send(EVENTS, early["user_id"], early)
    row = io.follow(len, early["user_id"])[-1]
    assert sent.record_time_ms + 5000 == row["event_time_ms"]


def test_duplicates_and_times_set_back_are_told(opened: Opener, stack: RunningStack) -> None:
    """What `headrace status` shows of the running job; Flink collects its metrics every few seconds."""

    def counts() -> dict[str, int]:
        return event_counts(
            lambda path: flink_json(stack.endpoints, path), flink_json(stack.endpoints, "/jobs/overview")["jobs"]
        )

    before = wait_for(counts, "counts of the feature job")
    ahead = event(unique("user"), "i1", age_ms=-DAY_MS)
    opened("user_activity").send_all(EVENTS, [ahead, ahead, ahead])
    least = {"duplicates": before["duplicates"] + 2, "clamped": before["clamped"] + 1}
    wait_for(lambda: all(counts()[name] >= count for name, count in least.items()), f"at least {least}")


def test_a_click_counts_where_its_showing_does(opened: Opener, app: AppConfig) -> None:
    """Of two learning lists of a user each has one click, whichever comes first; nothing else that names a list has."""
    io = opened("item_exposure")
    user_id, item_id = unique("user"), unique("item")
    lists = [served(user_id, [item_id, "other"]) for _ in range(2)]
    probe = served(user_id, [item_id], learn=False)
    first, second = ({"request_id": shown["request_id"]} for shown in lists)
    wrong = [event(unique("user"), item_id, **first), event(user_id, item_id, request_id=probe["request_id"])]
    wrong += [event(user_id, item_id, request_id=unique("request")), event(user_id, item_id, "view", **first)]
    for shown in (lists[0], probe):
        io.send(SERVED, shown["request_id"], shown)
    io.send(BACKFILL, user_id, event(user_id, item_id, **first))
    io.send_all(EVENTS, [*wrong, event(user_id, item_id, **second)])
    io.send(SERVED, lists[1]["request_id"], lists[1])
    io.send(EVENTS, user_id, event(user_id, item_id, **first))
    rows = io.follow(lambda rows: rows and _exposure(app, rows[-1]) == [2, 1, 2], item_id)
    assert max(_exposure(app, row)[2] for row in rows) == 2


def _exposure(app: AppConfig, row: dict[str, Any]) -> list[int]:
    """Lists, expected clicks and clicks of these moments, by the longest half-life."""
    half_life_ms = app.features.half_lives_s[-1] * 1000
    weight = 2 ** (now_ms() % (EPOCH_HALF_LIVES * half_life_ms) / half_life_ms)
    return [round(amount / weight) for amount in row["exposure"][-6:-3]]


def test_history_is_the_newest_by_time_and_id(opened: Opener, app: AppConfig) -> None:
    """The row holds the newest N whatever the order of arrival; equal times are ordered by event_id."""
    io = opened("user_activity")
    user_id, newest = unique("user"), app.features.history_length
    events = [event(user_id, f"i{number}", age_ms=1000 * (number // 2)) for number in range(3 * newest)]
    for one in events[1::2]:
        one["event_time_ms"] = events[events.index(one) - 1]["event_time_ms"]
    random.Random(3).shuffle(events)
    io.send_all(EVENTS, events)
    events.sort(key=lambda one: (one["event_time_ms"], one["event_id"]), reverse=True)
    expected = [one["item_id"] for one in events[:newest]]
    row = io.follow(lambda rows: rows and rows[-1]["history_item_ids"] == expected, user_id)[-1]
    assert [one["event_time_ms"] for one in events[:newest]] == row["history_times_ms"]
    assert {("click", 1)} == set(zip(row["history_actions"], row["history_outcomes"], strict=True))


def test_an_event_before_its_item_counts_for_its_categories_later(opened: Opener) -> None:
    """Events wait for metadata; a change of categories moves them, a deletion leaves them."""
    io = opened("user_activity")
    user_id, item_id = unique("user"), unique("item")
    io.send(EVENTS, user_id, event(user_id, item_id, "like"))
    io.send(ITEMS, item_id, {"item_id": item_id, "categories": ["a", "b", "a"]})
    once = _sums(io.follow(_has({"a", "b"}), user_id)[-1])
    assert once["a"] == once["b"]
    io.send(ITEMS, item_id, {"item_id": item_id, "categories": ["b", "c"]})
    last = io.follow(_has({"b", "c"}), user_id)[-1]
    io.send(ITEMS, item_id, None)
    io.send(EVENTS, user_id, event(user_id, item_id, "like"))
    after = io.follow(_has({"b", "c"}), user_id)[-1]
    assert {name: pytest.approx(2 * value, rel=0.01) for name, value in _sums(last).items()} == _sums(after)


def _has(categories: set[str]) -> Callable[[list[dict[str, Any]]], bool]:
    def has(rows: list[dict[str, Any]]) -> bool:
        return bool(rows) and set(_sums(rows[-1])) == categories

    return has


def _sums(row: dict[str, Any]) -> dict[str, float]:
    return {name: row["category_counts"][7 * place + 1] for place, name in enumerate(row["category_names"])}


def _changed(**fields: Any) -> bytes:
    good = event("user", "item")
    return json.dumps({k: v for k, v in {**good, **fields}.items() if v is not ...}).encode()


GARBAGE: list[tuple[bytes | None, str]] = [
    (None, "not_json"),
    (b"", "not_json"),
    (b"\x00", "not_json"),
    (b"\xff\xfe\xfa", "not_json"),
    (b"null", "not_json"),
    (b"[]", "not_json"),
    (b'"text"', "not_json"),
    (b"{", "not_json"),
    (_changed()[:-1], "not_json"),
    (_changed() + b" x", "not_json"),
    (_changed() + _changed() + b"}", "not_json"),
    (_changed().replace(b"item", b"it\xffem"), "not_json"),
    (_changed(value=float("nan")), "not_json"),
    (_changed(session_id="x" * 65_536), "too_large"),
    (b"\xff" * 65_537, "too_large"),
    (b"x" * 65_536, "not_json"),
    (b'{"event_id": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep"),
    (_changed(session=json.loads("[" * 16 + "]" * 16)), "too_deep"),
    (b'{"event_id": ' + b"9" * 2_000 + b"}", "not_json"),
    (_changed(session_id="x" * 64_000)[:64_000], "not_json"),
    (b"{}", "missing_event_id"),
    (_changed(event_id=...), "missing_event_id"),
    (_changed(user_id=None), "missing_user_id"),
    (_changed(item_id=...), "missing_item_id"),
    (_changed(action=...), "missing_action"),
    (_changed(event_time_ms=...), "missing_event_time_ms"),
    (_changed(event_id=5), "bad_event_id"),
    (_changed(event_id=""), "bad_event_id"),
    (_changed(event_id={"a": 1}), "bad_event_id"),
    (_changed(user_id="x" * 129), "bad_user_id"),
    (_changed(user_id="é" * 65), "bad_user_id"),
    (_changed(user_id="a\nb"), "bad_user_id"),
    (_changed(item_id="a\x00b"), "bad_item_id"),
    (_changed(item_id="a\x85b"), "bad_item_id"),
    (_changed(item_id=["i"]), "bad_item_id"),
    (_changed(action=True), "bad_action"),
    (_changed(event_time_ms="1790000000000"), "bad_event_time_ms"),
    (_changed(event_time_ms=1.5), "bad_event_time_ms"),
    (_changed(event_time_ms=-1), "bad_event_time_ms"),
    (_changed(event_time_ms=0), "bad_event_time_ms"),
    (_changed(event_time_ms=10**40), "bad_event_time_ms"),
    (_changed(value="4"), "bad_value"),
    (_changed(value=True), "bad_value"),
    (_changed().replace(b'"action"', b'"value": 1e999, "action"'), "bad_value"),
    (_changed(request_id=7), "bad_request_id"),
    (_changed(request_id="r" * 129), "bad_request_id"),
    (_changed(context="text"), "bad_context"),
    (_changed(action="fly"), "unknown_action"),
    (_changed(action="Click"), "unknown_action"),
    (_changed(event_time_ms=now_ms() - 25 * HOUR_MS), "too_old"),
    (_changed(event_time_ms=12_345), "too_old"),
]
GOOD_IDS = ["a:b", "*", "../x", "{}", '"quoted"', "back\\slash", "é" * 64, "x" * 128, "日本", " ", "null", "\u202eabc"]


def test_garbage_becomes_exact_dead_letters_and_restarts_nothing(opened: Opener, stack: RunningStack) -> None:
    """N bad records make N dead letters with the original bytes and a reason; both jobs run on."""
    io = opened(DEAD_LETTERS)
    before = restarts(stack.endpoints)
    sent = [(io.send(EVENTS, "garbage", raw), raw, reason) for raw, reason in GARBAGE]
    expected = {_letter(where, raw, reason) for where, raw, reason in sent}
    rows = io.follow(lambda rows: _letters(rows) >= expected)
    offsets = {where.offset for where, _, _ in sent}
    assert len(sent) == sum(row["partition"] == sent[0][0].partition and row["offset"] in offsets for row in rows)
    assert before == restarts(stack.endpoints)


def _letter(where: Sent, raw: bytes | None, reason: str) -> tuple[Any, ...]:
    kept = (raw or b"")[: 16_384 if reason == "too_large" else None]
    return where.topic, where.partition, where.offset, where.record_time_ms, kept, reason


def _letters(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    names = ("topic", "partition", "offset", "record_time_ms")
    return {(*(row[name] for name in names), base64.b64decode(row["raw"]), row["reason"]) for row in rows}


def test_odd_but_legal_ids_pass_unchanged(opened: Opener) -> None:
    """Ids are any UTF-8 of 1-128 bytes without control characters; the row's key is the bare id."""
    for item_id in GOOD_IDS:
        io = opened("item_activity")
        io.send(EVENTS, "u", event(unique("user"), item_id))
        assert item_id == io.follow(len, item_id)[-1]["entity_id"]
