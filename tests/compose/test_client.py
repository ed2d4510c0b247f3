"""The client retries only what may be retried, loses nothing silently, and needs nothing of Headrace."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from kafka.errors import KafkaError, KafkaTimeoutError

from headrace_client import (
    Ack,
    AsyncRecommender,
    BrokerUnavailableError,
    BufferFullError,
    DeadlineError,
    Event,
    EventProducer,
    InvalidRecordError,
    Item,
    NotAcknowledgedError,
    Recommender,
    RefusedError,
    UnavailableError,
)
from headrace_client.records import complete_event, encode_event, encode_item
from protos import serving_pb2, serving_pb2_grpc
from tests.fakes import FakeKafka

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "compose" / "client" / "headrace_client"


class ScriptedRecommender(serving_pb2_grpc.RecommenderServicer):
    """Answers with the codes it is given, then with the user's id."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode] = []
        self.calls = 0

    async def Recommend(self, request: Any, context: Any) -> Any:
        """Abort with the next code, or answer."""
        self.calls += 1
        if self.codes:
            await context.abort(self.codes.pop(0), "as scripted")
        return serving_pb2.RecommendResponse(request_id=request.user_id)


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[ScriptedRecommender, AsyncRecommender]]:
    """A real server on a free port and a client of it."""
    servicer, server = ScriptedRecommender(), grpc.aio.server()
    register: Any = serving_pb2_grpc.add_RecommenderServicer_to_server
    register(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncRecommender(f"127.0.0.1:{port}", deadline_s=5.0) as client:
        yield servicer, client
    await server.stop(0)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """A broker in memory in the place of `KafkaProducer`."""
    fake = FakeKafka()
    monkeypatch.setattr("headrace_client.producer.KafkaProducer", lambda **_: fake)
    return fake


async def test_an_unavailable_server_is_asked_again(served: tuple[ScriptedRecommender, AsyncRecommender]) -> None:
    """A restart of the server does not reach the app."""
    servicer, client = served
    servicer.codes = [grpc.StatusCode.UNAVAILABLE] * 2
    assert (await client.recommend("u1")).request_id == "u1"
    assert servicer.calls == 3


async def test_a_refused_request_is_not_repeated(served: tuple[ScriptedRecommender, AsyncRecommender]) -> None:
    """Trying again changes nothing about a wrong argument."""
    servicer, client = served
    servicer.codes = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(RefusedError, match="as scripted"):
        await client.recommend("u1")
    assert servicer.calls == 1


async def test_a_missed_deadline_has_a_type(served: tuple[ScriptedRecommender, AsyncRecommender]) -> None:
    """Apps show something else then."""
    servicer, client = served
    servicer.codes = [grpc.StatusCode.DEADLINE_EXCEEDED]
    with pytest.raises(DeadlineError):
        await client.recommend("u1")


def test_a_missing_server_is_reported_within_the_deadline() -> None:
    """The blocking client; nobody listens on port 1."""
    started_s = time.monotonic()
    with Recommender("127.0.0.1:1") as client, pytest.raises((UnavailableError, DeadlineError)):
        client.recommend("u1", deadline_s=0.5)
    assert time.monotonic() - started_s < 5.0


def test_an_event_gets_an_id_and_a_time() -> None:
    """Given ones stay, two events never share one."""
    first, second = (complete_event(Event("u1", "i1", "click")) for _ in range(2))
    assert first.event_id != second.event_id
    assert abs(first.event_time_ms - time.time() * 1000) < 60_000
    assert complete_event(Event("u1", "i1", "click", event_id="e", event_time_ms=5)).event_time_ms == 5


def test_an_event_travels_as_the_proto_says() -> None:
    """Absent fields are absent, a value of zero is not."""
    event = Event("ü", "i1", "rating", value=0.0, context={"page": "home"}, event_id="e1", event_time_ms=5)
    key, value = encode_event(event)
    expected = {"user_id": "ü", "item_id": "i1", "action": "rating", "value": 0.0, "context": {"page": "home"}}
    assert key == "ü".encode()
    assert json.loads(value) == expected | {"event_id": "e1", "event_time_ms": 5}


@pytest.mark.parametrize(
    "event",
    [
        Event("", "i1", "click"),
        Event("u" * 129, "i1", "click"),
        Event("u1", "i\n1", "click"),
        Event("u1", "\ud800", "click"),
        Event("u1", "i1", "rating", value=float("nan")),
        Event("u1", "i1", "click", context={"page": "x" * 70_000}),
        Event("u1", "i1", "click", request_id="x" * 129),
        Event("u1", "i1", "click", request_id="a\nb"),
        Event("u1", "i1", "click", event_time_ms=-5),
        Event("u1", "i1", "click", event_time_ms=cast("Any", 1.5)),
        Event("u1", "i1", "rating", value=True),
        Event("u1", "i1", "rating", value=10**400),
        Event("u1", "i1", "click", context={"page": "\ud800"}),
        Event("u1", "i1", "rating", value=cast("Any", "4")),
        Event(cast("Any", 5), "i1", "click"),
        Event("u1", "i1", "click", session_id=cast("Any", 5)),
        Event("u1", "i1", "click", context=cast("Any", "page")),
        Event("u1", "i1", "click", context=cast("Any", {"page": None})),
    ],
)
def test_what_the_topic_would_refuse_is_not_sent(event: Event, kafka: FakeKafka) -> None:
    """The app hears it at once, with the bound in the message."""
    with EventProducer("k:1") as producer, pytest.raises(InvalidRecordError, match=r"must|valid"):
        producer.send(event)
    assert kafka.records == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"categories": "drinks"}, "a list of names, not the text 'drinks'"),
        ({"categories": ["", "tea"]}, "categories: a name must have 1-128 bytes"),
        ({"categories": [None]}, "categories: a name must be text"),
        ({"title": None}, "title must be text"),
        ({"attributes": {"size": 5}}, "attributes must be a mapping of text, not 5"),
        ({"is_available": "no"}, "is_available must be True or False, not 'no'"),
        ({"published_time_ms": 1.5}, "published_time_ms must be whole milliseconds"),
        ({"expires_time_ms": 10**19}, "expires_time_ms must be milliseconds since 1970"),
        ({"title": "x" * 70_000}, "must stay below 61440 bytes"),
    ],
)
def test_an_item_that_nobody_could_read_is_not_announced(fields: dict[str, Any], said: str, kafka: FakeKafka) -> None:
    """The app hears it at once; a text in place of a list would have been as many categories as it has letters."""
    with EventProducer("k:1") as producer, pytest.raises(InvalidRecordError, match=said):
        producer.announce(Item("i1", **fields))
    assert kafka.records == []


def test_what_was_published_before_1970_has_a_time_below_zero() -> None:
    """Films and songs have."""
    assert json.loads(encode_item(Item("i1", published_time_ms=-631_152_000_000))[1])["published_time_ms"] < 0


def test_the_future_carries_what_the_broker_said(kafka: FakeKafka) -> None:
    """Partition, offset and the broker's time."""
    with EventProducer("k:1") as producer:
        future = producer.send(Event("u1", "i1", "click"))
        assert not future.done()
        kafka.acknowledge(partition=3, offset=14, timestamp=99)
        assert future.result(0) == Ack(3, 14, 99)


def test_an_unacknowledged_event_fails_its_future(kafka: FakeKafka) -> None:
    """Nothing is dropped silently."""
    with EventProducer("k:1") as producer:
        future = producer.send(Event("u1", "i1", "click"))
        kafka.fail(KafkaTimeoutError("gone"))
        with pytest.raises(NotAcknowledgedError, match="gone"):
            future.result(0)


def test_a_full_buffer_refuses_until_a_place_is_free(kafka: FakeKafka) -> None:
    """Backpressure is an error with a type, not memory without end."""
    with EventProducer("k:1", max_pending=2, block_s=0.0) as producer:
        for _ in range(2):
            producer.send(Event("u1", "i1", "click"))
        with pytest.raises(BufferFullError, match="2 records"):
            producer.send(Event("u1", "i1", "click"))
        kafka.acknowledge(partition=0, offset=0, timestamp=0)
        producer.send(Event("u1", "i1", "click"))


def test_a_missing_broker_keeps_no_place_taken(kafka: FakeKafka) -> None:
    """Each refused event gives its place back."""
    kafka.send_error = KafkaError("no broker")
    with EventProducer("k:1", max_pending=1, block_s=0.0) as producer:
        for _ in range(3):
            with pytest.raises(BrokerUnavailableError):
                producer.send(Event("u1", "i1", "click"))


def test_items_are_announced_and_deleted(kafka: FakeKafka) -> None:
    """A null value deletes."""
    with EventProducer("k:1") as producer:
        producer.announce(Item("i1", title="One", categories=("a",)))
        producer.delete_item("i1")
    (_, key, value), deletion = kafka.records
    assert (key, json.loads(value or b"")["categories"]) == (b"i1", ["a"])
    assert deletion == ("headrace.items.v1", b"i1", None)
    assert encode_item(Item("i1", title="One", categories=("a",)))[1] == value


@pytest.mark.parametrize("name", ["serving_pb2.py", "serving_pb2.pyi"])
def test_the_client_speaks_the_server_s_messages(name: str) -> None:
    """After `make protos`: cp protos/serving_pb2.py* compose/client/headrace_client/."""
    assert (CLIENT / name).read_bytes() == (ROOT / "protos" / name).read_bytes()


def imported_roots() -> Iterator[str]:
    """Every top-level module that the client's files import."""
    for path in CLIENT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                yield (node.module or "").split(".")[0]
            elif isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)


def test_the_client_needs_nothing_of_headrace() -> None:
    """Its wheel installs alone."""
    outside = {"protos", "features", "streams", "trainer", "serving", "compose", "tests", "msgspec", "pydantic"}
    assert not outside & set(imported_roots())
