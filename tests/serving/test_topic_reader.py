"""Laws of following topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serving import topic_reader
from serving.topic_reader import TopicReader
from tests.fakes import FakeBroker, FakeRecord


def value_of(record: FakeRecord) -> bytes | None:
    """Decode a record to its value."""
    return record.value


async def until(is_true: Callable[[], bool]) -> None:
    """Let the reader work until something is true."""
    async with asyncio.timeout(5):
        while not is_true():
            await asyncio.sleep(0.005)


async def test_reader_catches_up_before_it_says_so() -> None:
    """What was there at the start is applied, in order, in small batches; then comes what is new."""
    broker, batches = FakeBroker(["t"]), list[list[bytes]]()
    for number in range(5):
        broker.append("t", None, b"%d" % number)
    reader = TopicReader(broker.connect, ["t"], value_of, batches.append, batch_size=2)
    reader.start()
    assert await reader.wait_until_caught_up(5)
    assert batches == [[b"0", b"1"], [b"2", b"3"], [b"4"]]
    broker.append("t", None, b"new")
    await until(lambda: batches[-1] == [b"new"])
    assert reader.next_offsets() == {"t:0": 6}
    await reader.stop()


async def test_reader_goes_on_where_it_was_after_an_outage() -> None:
    """A broker that dies and comes back costs no record and repeats none."""
    broker, values = FakeBroker(["t"]), list[bytes]()
    reader = TopicReader(broker.connect, ["t"], value_of, values.extend)
    reader.start()
    broker.append("t", None, b"before")
    await until(lambda: values == [b"before"])
    broker.is_dead = True
    await until(lambda: not reader.is_connected)
    broker.append("t", None, b"during")
    broker.is_dead = False
    await until(lambda: values == [b"before", b"during"])
    await reader.stop()


async def test_silent_broker_is_asked_and_not_believed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer polls a dead or paused broker without a word; health must tell all the same, and no record is lost."""
    monkeypatch.setattr(topic_reader, "_SILENT_S", 0.05)
    broker, values = FakeBroker(["t"]), list[bytes]()
    reader = TopicReader(broker.connect, ["t"], value_of, values.extend)
    reader.start()
    await until(lambda: reader.is_connected)
    broker.is_silent = True
    await until(lambda: not reader.is_connected)
    broker.append("t", None, b"during")
    broker.is_silent = False
    await until(lambda: values == [b"during"] and reader.is_connected)
    await reader.stop()


async def test_question_without_an_answer_is_told_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paused broker may answer yet, so the connection is kept; nobody is told meanwhile that all is well."""
    monkeypatch.setattr(topic_reader, "_SILENT_S", 0.05)
    monkeypatch.setattr(topic_reader, "_UNHEARD_S", 0.3)
    broker, connections = FakeBroker(["t"]), list[Any]()

    def connect() -> Any:
        connections.append(broker.connect())
        return connections[-1]

    reader = TopicReader(connect, ["t"], value_of, list[bytes]().extend)
    reader.start()
    await until(lambda: reader.is_connected)
    broker.answers.clear()
    await until(lambda: not reader.is_connected)
    broker.answers.set()
    await until(lambda: reader.is_connected)
    assert len(connections) == 1
    await reader.stop()


async def test_reader_waits_for_its_topic() -> None:
    """A topic that is created late is read from its beginning."""
    broker, values = FakeBroker([]), list[bytes]()
    reader = TopicReader(broker.connect, ["t"], value_of, values.extend)
    reader.start()
    assert not await reader.wait_until_caught_up(0.01)
    broker.logs["t"] = []
    broker.append("t", None, b"first")
    await until(lambda: values == [b"first"])
    await reader.stop()


async def test_failing_batch_does_not_stop_the_reader() -> None:
    """A batch that cannot be applied is logged by the loop; the next one comes."""
    broker, values = FakeBroker(["t"]), list[bytes]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    def apply(batch: list[bytes]) -> None:
        if b"bad" in batch:
            raise ValueError("cannot apply")
        values.extend(batch)

    reader = TopicReader(broker.connect, ["t"], value_of, apply, batch_size=1)
    reader.start()
    for number in range(12):
        broker.append("t", None, b"bad" if number < 10 else b"good")
    await until(lambda: values == [b"good", b"good"])
    await reader.stop()


async def test_reader_from_the_end_hears_what_comes_from_now_on() -> None:
    """Nothing from before; what comes during an outage too."""
    broker, values = FakeBroker(["t"]), list[bytes]()
    broker.append("t", None, b"old")
    reader = TopicReader(broker.connect, ["t"], value_of, values.extend, is_from_end=True)
    reader.start()
    assert await reader.wait_until_caught_up(5)
    broker.is_dead = True
    await until(lambda: not reader.is_connected)
    broker.append("t", None, b"during")
    broker.is_dead = False
    await until(lambda: values == [b"during"])
    await reader.stop()
