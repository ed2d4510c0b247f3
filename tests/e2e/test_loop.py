"""The loop on the real stack: an event changes the next recommendation and the next version."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from kafka import KafkaProducer

from headrace_client import Event, EventProducer, Item, Recommender, RecommendResponse
from tests.e2e.app import covers, parse_version, read_topic, send_like
from tests.running_stack import RunningStack, wait_for

pytestmark = pytest.mark.stack


def shown(recommender: Recommender, user_id: str) -> list[str]:
    """Return the ten items a user gets on the probe surface."""
    return [item.item_id for item in recommender.recommend(user_id, 10, "probe").items]


def by_model(recommender: Recommender, user_id: str) -> RecommendResponse | None:
    """Return an answer, unless it fell back: a busy machine may be short of time for one."""
    reply = recommender.recommend(user_id, 10, "probe")
    return reply if reply.model_version else None


def request_samples(stack: RunningStack, request_id: str) -> dict[str, dict[str, Any]] | None:
    """Return impression and correction of one request, once both are there."""
    samples = read_topic(stack, "headrace.samples.v1")
    found = {sample["kind"]: sample for sample in samples if sample.get("request_id") == request_id}
    return found if found.keys() == {"impression", "correction"} else None


def test_three_likes_change_a_fresh_users_list_and_the_weights(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """After three likes of one taste the list leans to it, and a newer version has learnt them."""
    user_id = f"fresh-{uuid.uuid4().hex[:6]}"
    before = wait_for(lambda: by_model(recommender, user_id), "an answer by a model")
    acks = [send_like(producer, user_id, item_id) for item_id in tastes[2][:3]]
    liked, group = set(tastes[2][:3]), set(tastes[2])

    def leaning() -> list[str] | None:
        now = shown(recommender, user_id)
        return now if len(group & set(now[:5])) >= 4 and not liked & set(now) else None

    after = wait_for(leaning, "the list leaning to what the user liked", timeout_s=15)
    assert after != [item.item_id for item in before.items]
    reply = wait_for(lambda: covers(stack, recommender, acks[-1]), "a version that learnt the likes", timeout_s=15)
    assert parse_version(reply.model_version) > parse_version(before.model_version)


def test_a_like_on_a_served_list_becomes_a_correction(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """A list shown on a learning surface yields its impression and, after a like, one correction with the label."""
    user_id = f"shopper-{uuid.uuid4().hex[:6]}"
    reply = recommender.recommend(user_id, 10, "default")
    liked = reply.items[2].item_id
    producer.send(Event(user_id=user_id, item_id=liked, action="like", request_id=reply.request_id)).result(30)
    samples = wait_for(lambda: request_samples(stack, reply.request_id), "impression and correction", timeout_s=20)
    impression, correction = samples["impression"], samples["correction"]
    assert [item["item_id"] for item in impression["items"]] == [item.item_id for item in reply.items]
    assert correction["items"][0]["item_id"] == liked
    assert correction["items"][0]["labels"] == {"like": 1.0}
    assert {item["item_id"] for item in correction["items"]} == {item.item_id for item in reply.items}


def test_a_probe_surface_makes_no_samples(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """Nobody saw a probe's list, so it must not become negatives."""
    probe = recommender.recommend("prober", 10, "probe")
    later = recommender.recommend("prober", 10, "default")
    like = Event(user_id="prober", item_id=later.items[0].item_id, action="like", request_id=later.request_id)
    producer.send(like).result(30)
    wait_for(lambda: request_samples(stack, later.request_id), "the samples of a later list", timeout_s=20)
    kinds = [
        sample["kind"]
        for sample in read_topic(stack, "headrace.samples.v1")
        if sample.get("request_id") == probe.request_id
    ]
    assert kinds == []


def test_an_unknown_user_gets_a_full_list(recommender: Recommender, tastes: list[list[str]]) -> None:
    """Nobody is refused for being new."""
    reply = recommender.recommend("never-seen", 10, "probe")
    assert len({item.item_id for item in reply.items}) == 10
    assert reply.model_version


def test_a_removed_item_leaves_the_lists(
    producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """An item that its app withdraws is no longer answered."""
    gone = shown(recommender, "never-seen-either")[0]
    producer.announce(Item(item_id=gone, is_available=False)).result(30)
    wait_for(lambda: gone not in shown(recommender, "never-seen-either"), "the item leaving the list", timeout_s=10)


def test_garbage_goes_to_the_dead_letters_and_restarts_nothing(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """Bytes that are no event are kept with a reason, and the next event still counts."""
    raw = KafkaProducer(bootstrap_servers=stack.endpoints.kafka)
    mark = uuid.uuid4().hex.encode()
    for value in (b"\xff\xfe" + mark, b"{" + mark, b'{"user_id": "' + mark + b'"}'):
        raw.send("headrace.events.v1", key=b"u", value=value).get(10)
    raw.close()
    ack = send_like(producer, "after-garbage", tastes[0][0])
    wait_for(lambda: covers(stack, recommender, ack), "the event after the garbage in served weights", timeout_s=30)
    assert len(wait_for(lambda: _letters(stack, 3), "three dead letters", timeout_s=10)) >= 3


def _letters(stack: RunningStack, at_least: int) -> list[dict[str, Any]] | None:
    letters = [letter for letter in read_topic(stack, "headrace.events.dlq.v1") if letter["reason"]]
    return letters if len(letters) >= at_least else None
