"""The same log gives the same features: replayed by other jobs, and sent as history."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.oracle.oracle_stack import BACKFILL, EVENTS, ITEMS, JOBS, OracleStack, play, wait_committed, wait_settled
from tests.oracle.replay_job import Rows, differences, newest_rows, replaying
from tests.oracle.stream_maker import HOUR_MS, Step, Stream, make_stream

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def _stream(seed: int, mark: str = "") -> Stream:
    now_ms = time.time_ns() // 1_000_000
    return make_stream(seed, f"{now_ms:x}{mark}", now_ms)


def test_two_replays_give_the_rows_of_the_live_job(oracle_stack: OracleStack) -> None:
    """Two more jobs read the log of all that was sent so far, from its start, and end with the same rows."""
    play(oracle_stack, [_stream(11)])
    wait_settled(oracle_stack)
    with replaying(oracle_stack, ".replay") as first, replaying(oracle_stack, ".again") as second:
        for group in (first, second):
            wait_committed(oracle_stack, group, JOBS["feature"])
        live, *replayed = (newest_rows(oracle_stack, suffix) for suffix in ("", ".replay", ".again"))
    print(f"{len(live)} rows, byte for byte: {[_num_equal(live, rows) for rows in replayed]}")
    assert len(live) > 70
    assert [differences(live, rows) for rows in replayed] == [[], []]


def _num_equal(left: Rows, right: Rows) -> int:
    return sum(row == right.get(name) for name, row in left.items())


def test_backfill_and_live_agree(oracle_stack: OracleStack) -> None:
    """The same events under other ids through the backfill topic make the same rows."""
    live = _stream(12, "a")
    live.steps = list(_events_and_items(live))
    history = replace(live, prefix=live.prefix.replace("a.", "b."))
    history.steps = [_renamed(step, live.prefix, history.prefix) for step in live.steps]
    play(oracle_stack, [live, history])
    wait_settled(oracle_stack)
    rows = newest_rows(oracle_stack)
    ours, theirs = _of(rows, live.prefix), _of(rows, history.prefix, live.prefix)
    assert ours.keys() == _touched(live)  # No rows of lists: feedback to none that was served counts nowhere.
    assert differences(ours, theirs, but=["different"]) == []  # Other ids have other hashes.


def _events_and_items(stream: Stream) -> Iterator[Step]:
    """Yield what both topics take alike: no garbage, nothing beyond the horizon, nothing ahead of the clock."""
    now_ms = time.time_ns() // 1_000_000
    for step in stream.steps:
        is_event = step.topic == EVENTS and not step.is_garbage
        age_ms = now_ms - json.loads(step.value or b"")["event_time_ms"] if is_event else 0
        if step.topic == ITEMS or (is_event and 0 <= age_ms < 23 * HOUR_MS):
            yield step


def _touched(stream: Stream) -> set[tuple[str, str]]:
    """Return the rows that the events of a stream make."""
    events = [json.loads(step.value or b"") for step in stream.steps if step.topic == EVENTS]
    views = {"user_activity": "user_id", "item_activity": "item_id"}
    return {(view, event[key]) for view, key in views.items() for event in events}


def _renamed(step: Step, old: str, new: str) -> Step:
    value = step.value and step.value.replace(old.encode(), new.encode())
    topic = BACKFILL if step.topic == EVENTS else step.topic
    return replace(step, topic=topic, key=step.key.replace(old, new), value=value)


def _of(rows: Rows, prefix: str, renamed: str = "") -> Rows:
    own = {name: row for name, row in rows.items() if name[1].startswith(prefix)}
    old, new = prefix, renamed or prefix
    return {(view, key.replace(old, new)): row.replace(old.encode(), new.encode()) for (view, key), row in own.items()}
