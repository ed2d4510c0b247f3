"""Which categories an event counts for: by the broker's times of events and item records, whatever arrives first.

`CategorizeEvents` (streams/java) against the rule in plain Python, and the two cases in which a replay cannot know what
the running job knew (docs/features.md).
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Sequence

import pytest

from tests.contracts.java_program import java_command

KEEP_MS = 1000
LONG_AGO_MS = 1_700_000_000_000
"""A replay: older than what is kept, by the clock."""
FAR_AHEAD_MS = 4_000_000_000_000
"""As good as live: younger than that."""
Line = tuple[str, int, str]
"""`event` or `item`, broker time, and an id or categories."""
Run = Callable[[Sequence[Sequence[Line]]], list[dict[str, str]]]


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs items' lines through the function; returns what each event of each item counts for in the end."""
    command = java_command(tmp_path_factory.mktemp("categories"), "Categories", str(KEEP_MS))

    def run(items: Sequence[Sequence[Line]]) -> list[dict[str, str]]:
        text = "".join("".join(f"{kind}\t{at}\t{what}\n" for kind, at, what in lines) + "\n" for lines in items)
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        return [_net(block.splitlines()) for block in done.stdout.split("\n\n")[: len(items)]]

    return run


def _net(changes: Sequence[str]) -> dict[str, str]:
    """What was added and not taken back, once an event."""
    sums: dict[tuple[str, str], int] = {}
    for event_id, sign, categories in (change.split("\t") for change in changes):
        sums[event_id, categories] = sums.get((event_id, categories), 0) + int(sign)
    assert set(sums.values()) <= {0, 1}
    return {event_id: categories for (event_id, categories), count in sums.items() if count}


def _rule(lines: Sequence[Line]) -> dict[str, str]:
    """The newest record up to `KEEP_MS` behind an event; where there is none the first that named categories."""
    records = sorted((at, what) for kind, at, what in lines if kind == "item")
    while records and not records[0][1]:
        records = records[1:]
    counted = {}
    for kind, at, event_id in lines:
        if kind == "event":
            named = [what for since, what in records if since <= at + KEEP_MS] or [what for _, what in records[:1]]
            counted[event_id] = named[-1] if named else ""
    return counted


def _item(rng: random.Random, start_ms: int, spread_ms: int) -> list[Line]:
    """Up to 60 events and 8 records in any order, the records in theirs."""
    times = sorted(rng.randrange(spread_ms) for _ in range(rng.randrange(8)))
    records = [("item", start_ms + at, rng.choice(["", "a", "a,b", "b,é", "c"])) for at in times]
    events = [("event", start_ms + rng.randrange(spread_ms), f"e{number}") for number in range(rng.randrange(1, 60))]
    places = sorted([*range(len(records) + len(events))], key=lambda _: rng.random())[: len(records)]
    for place, record in zip(sorted(places), records, strict=True):
        events.insert(place, record)
    return events


def test_arrival_does_not_matter(java: Run) -> None:
    """Two hundred replays over twenty windows, events and records mixed at will."""
    rng = random.Random(5)
    items = [_item(rng, LONG_AGO_MS, 20 * KEEP_MS) for _ in range(200)]
    assert [_rule(lines) for lines in items] == java(items)


def test_live_events_move_for_one_window(java: Run) -> None:
    """What runs live, in the order of time, ends as its replay does."""
    rng = random.Random(6)
    replays = [_item(rng, LONG_AGO_MS, 5 * KEEP_MS) for _ in range(100)]
    shift_ms = FAR_AHEAD_MS - LONG_AGO_MS
    in_time = [sorted(lines, key=lambda line: line[1]) for lines in replays]
    live = [[(kind, at + shift_ms, what) for kind, at, what in lines] for lines in in_time]
    # An event that was long forgotten when its item was announced is the one exception; told below.
    known = [n for n, lines in enumerate(replays) if all(at > _first_ms(lines) - KEEP_MS for _, at, _ in lines)]
    assert len(known) > 20
    counted, replayed = java(live), java(replays)
    assert [replayed[n] for n in known] == [counted[n] for n in known]


def _first_ms(lines: Sequence[Line]) -> int:
    return min((at for kind, at, what in lines if kind == "item" and what), default=0)


def test_superseded_records_that_kafka_dropped_are_unknown_to_a_replay(java: Run) -> None:
    """Events older than a window before the record that is left count for its categories, not for the old ones."""
    events: list[Line] = [("event", LONG_AGO_MS, "old"), ("event", LONG_AGO_MS + 10 * KEEP_MS, "new")]
    before, after = ("item", LONG_AGO_MS, "a"), ("item", LONG_AGO_MS + 10 * KEEP_MS, "b")
    assert java([[before, after, *events], [after, *events]]) == [{"old": "a", "new": "b"}, {"old": "b", "new": "b"}]


def test_an_item_announced_late_counts_for_what_is_still_remembered(java: Run) -> None:
    """Live: the events of the last window at least. A replay counts them all."""
    times = range(0, 10 * KEEP_MS, 10)
    item = ("item", 10 * KEEP_MS, "a")
    live, replay = (
        [(kind, start_ms + at, what) for kind, at, what in [*(("event", at, f"e{at}") for at in times), item]]
        for start_ms in (FAR_AHEAD_MS, LONG_AGO_MS)
    )
    counted, replayed = java([live, replay])
    assert set(replayed.values()) == {"a"}
    assert {counted[f"e{at}"] for at in times if at >= 9 * KEEP_MS} == {"a"}
    assert counted["e0"] == ""


def test_the_newest_sixteen_changes_are_remembered(java: Run) -> None:
    """An event before them counts for the oldest that is."""
    records: list[Line] = [("item", LONG_AGO_MS + 2 * KEEP_MS * n, f"c{n}") for n in range(20)]
    events: list[Line] = [("event", LONG_AGO_MS + 2 * KEEP_MS * n, f"e{n}") for n in (0, 3, 19)]
    assert java([[*records, *events]]) == [{"e0": "c3", "e3": "c3", "e19": "c19"}]
