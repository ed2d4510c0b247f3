"""A file's events arrive as if they happened now; what is wrong with a file is said in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compose.replay import main, pace, replay_events, restamp
from compose.replay_file import EventsFileError, read_events
from headrace_client import Ack, Event

ROWS: list[dict[str, Any]] = [
    {"user_id": "u2", "item_id": "7", "action": "rating", "event_time_ms": 2000, "value": 4.5},
    {"user_id": "u1", "item_id": "8", "action": "click", "event_time_ms": 1000, "value": None},
]


class FakeProducer:
    """Acknowledges every event at once, but for the numbers it is told to fail."""

    def __init__(self, failing: frozenset[int] = frozenset()) -> None:
        self.events: list[Event] = []
        self.failing = failing
        self.is_flushed = False

    def send(self, event: Event) -> Future[Ack]:
        """Keep the event."""
        self.events.append(event)
        future: Future[Ack] = Future()
        if len(self.events) in self.failing:
            future.set_exception(OSError("lost"))
        else:
            future.set_result(Ack(0, len(self.events), 0))
        return future

    def flush(self) -> None:
        """Note the call."""
        self.is_flushed = True


class FakeClock:
    """Moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Say what time it is."""
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        """Move on."""
        self.now_s += wait_s


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """A JSON lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A CSV file."""
    lines = [",".join(rows[0])] + [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A parquet file."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("write", "name"), [(write_jsonl, "e.jsonl"), (write_csv, "e.csv"), (write_parquet, "e.parquet")]
)
def test_every_format_gives_the_same_events(write: Any, name: str, tmp_path: Path) -> None:
    """In time order, whatever the order in the file."""
    events = read_events(write(tmp_path / name, ROWS))
    assert [(e.user_id, e.item_id, e.event_time_ms, e.value) for e in events] == [
        ("u1", "8", 1000, None),
        ("u2", "7", 2000, 4.5),
    ]


def test_whole_numbers_are_good_ids_and_timestamps_good_times(tmp_path: Path) -> None:
    """As data frames write them."""
    times = pa.array([1000], pa.timestamp("ms"))
    table = pa.table({"user_id": [1], "item_id": [2], "action": ["click"], "event_time_ms": times})
    pq.write_table(table, tmp_path / "e.parquet")
    event = read_events(tmp_path / "e.parquet")[0]
    assert (event.user_id, event.item_id, event.event_time_ms) == ("1", "2", 1000)


def test_missing_event_ids_are_the_same_on_every_run(tmp_path: Path) -> None:
    """Equal rows differ by their number, another salt makes other ids, a given id stays."""
    path = write_jsonl(tmp_path / "e.jsonl", [ROWS[0], ROWS[0], {**ROWS[1], "event_id": "given"}])
    ids = [event.event_id for event in read_events(path)]
    assert ids == [event.event_id for event in read_events(path)]
    assert (len(set(ids)), ids[0]) == (3, "given")
    assert not set(ids[1:]) & {event.event_id for event in read_events(path, salt="again")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user_id": ""}, "row 2: user_id is missing"),
        ({"item_id": "x" * 129}, "row 2: item_id must have 1-128 bytes"),
        ({"action": True}, "row 2: action must be text"),
        ({"event_time_ms": "yesterday"}, "row 2: event_time_ms must be milliseconds"),
        ({"event_time_ms": 1.7e15}, "row 2: event_time_ms must be whole milliseconds"),
        ({"value": "much"}, "row 2: value must be a number"),
        ({"context": "{"}, "row 2: context must be a JSON object"),
        ({"context": 5}, "row 2: context must map names"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(EventsFileError, match=said):
        read_events(write_jsonl(tmp_path / "e.jsonl", [ROWS[0], {**ROWS[1], **change}]))


def test_missing_columns_are_named(tmp_path: Path) -> None:
    """With those that are there."""
    with pytest.raises(EventsFileError, match=r"lacks the column action, event_time_ms; it has user_id, item_id"):
        read_events(write_csv(tmp_path / "e.csv", [{"user_id": "u1", "item_id": "i1"}]))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("e.txt", b"", "no known ending"),
        ("e.jsonl", b"", "holds no events"),
        ("e.jsonl", b"{\n", "row 1 is not JSON"),
        ("e.jsonl", b"[]\n", "must be a JSON object"),
        ("e.parquet", b"PAR1 and no more", "cannot read"),
        ("e.csv", b"\xff\xfe", "cannot read"),
    ],
)
def test_an_unreadable_file_is_one_sentence(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """Also a damaged one."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EventsFileError, match=said):
        read_events(tmp_path / name)


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 60.0), (30.0, 2.0), (0.0, 0.0)])
def test_the_file_s_own_spacing_is_kept(speed: float, seconds: float) -> None:
    """Divided by the speed."""
    clock = FakeClock()
    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in (5_000, 35_000, 65_000)]
    assert list(pace(events, speed, clock, clock.sleep)) == events
    assert clock.now_s - 100.0 == pytest.approx(seconds)


def test_a_replayed_event_happens_now() -> None:
    """Its own time is kept in the context."""
    event = restamp(Event("u1", "i1", "click", event_time_ms=5, context={"page": "a"}), now_ms=99)
    assert (event.event_time_ms, event.context) == (99, {"page": "a", "original_time_ms": "5"})


def test_the_summary_counts_what_kafka_has() -> None:
    """A lost event is an exit code."""
    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in range(5)]
    producer, sent = FakeProducer(failing=frozenset({2})), list[int]()
    summary = replay_events(events, producer, 0.0, sent.append)
    assert (summary.acknowledged, summary.failed, summary.exit_code) == (4, 1, 1)
    assert (sent, producer.is_flushed) == ([1, 2, 3, 4, 5], True)


def test_an_interrupted_replay_waits_for_what_it_sent() -> None:
    """Ctrl-C after the first event."""

    def interrupted(events: Iterable[Event], speed: float) -> Iterator[Event]:
        yield next(iter(events))
        raise KeyboardInterrupt

    events = [Event("u1", "i1", "click", event_time_ms=ms) for ms in range(5)]
    producer = FakeProducer()
    summary = replay_events(events, producer, 0.0, lambda _: None, interrupted)
    assert (summary.acknowledged, summary.exit_code, producer.is_flushed) == (1, 130, True)


def test_the_command_says_what_is_wrong_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text('{"kafka": "k:1", "redis": "r:1", "model_store": "", "state": ""}')
    assert main([str(tmp_path / "no.jsonl"), "--endpoints", str(endpoints)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_given_fields_reach_kafka_unchanged() -> None:
    """All but the time."""
    event = Event("u1", "i1", "click", 2.0, "r1", "s1", {}, "e1", 5, "t1")
    producer = FakeProducer()
    replay_events([event], producer, 0.0, lambda _: None)
    assert replace(producer.events[0], event_time_ms=5, context={}) == event
