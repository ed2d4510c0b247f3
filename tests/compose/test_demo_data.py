"""Laws of the demo's data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from compose.demo.data import load_data, load_events_file, load_movielens
from compose.demo.errors import DataError
from tests.compose.demo_parts import ACTIONS

ROWS = [
    {"event_id": "e2", "user_id": "007", "item_id": "0042", "action": "rating", "event_time_ms": 2000, "value": 5.0},
    {"event_id": "e1", "user_id": "8", "item_id": "0042", "action": "view", "event_time_ms": 1000, "value": None},
]


def write(path: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    """Write rows in the format that the name asks for."""
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


def test_movielens_has_its_known_size_in_order_of_time() -> None:
    """100,000 ratings of 943 users, 1,682 films with title and genres."""
    data = load_movielens()
    assert (len(data.events), len({e.user_id for e in data.events}), len(data.items)) == (100_000, 943, 1682)
    assert [e.event_time_ms for e in data.events] == sorted(e.event_time_ms for e in data.events)
    assert (data.items[0].title, data.items[0].categories) == (
        "Toy Story (1995)",
        ("Animation", "Children's", "Comedy"),
    )


@pytest.mark.parametrize("name", ["events.parquet", "events.jsonl", "events.csv"])
def test_every_format_gives_the_same_events(tmp_path: Path, name: str) -> None:
    """Ids stay text, whatever they look like; events come in order of time."""
    data = load_events_file(write(tmp_path / name))
    assert [(e.user_id, e.item_id, e.action, e.value) for e in data.events] == [
        ("8", "0042", "view", None),
        ("007", "0042", "rating", 5.0),
    ]
    assert [item.item_id for item in data.items] == ["0042"]


def test_context_is_taken_from_maps_and_json_text(tmp_path: Path) -> None:
    """A CSV can only hold a context as JSON."""
    rows: list[dict[str, object]] = [{**ROWS[0], "context": '{"device": "tv"}'}]
    assert dict(load_events_file(write(tmp_path / "events.csv", rows)).events[0].context) == {"device": "tv"}
    rows = [{**ROWS[0], "context": {"device": "tv"}}]
    assert dict(load_events_file(write(tmp_path / "events.jsonl", rows)).events[0].context) == {"device": "tv"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"action": "raiting"}, "did you mean 'rating'"),
        ({"user_id": None}, "row 1 has no user_id"),
        ({"event_time_ms": "noon"}, "event_time_ms 'noon'"),
        ({"context": "{broken"}, "row 1 has value 5.0 and context '{broken'"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    """One sentence says what is wrong."""
    path = write(tmp_path / "events.jsonl", [{**ROWS[0], **change}])
    with pytest.raises(DataError, match=sentence):
        load_data(path, ACTIONS)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Missing files, unknown kinds, damaged files, missing columns, empty files."""
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "events.txt").touch()
    write(tmp_path / "short.csv", [{"user_id": "u"}])
    pd.DataFrame(columns=list(ROWS[0])).to_parquet(tmp_path / "empty.parquet")
    expected = {
        "gone.csv": "No such file",
        "events.txt": "unknown kind of file",
        "damaged.parquet": "not a readable parquet file",
        "short.csv": "lacks the column item_id, action, event_time_ms",
        "empty.parquet": "holds no events",
    }
    for name, sentence in expected.items():
        with pytest.raises(DataError, match=sentence):
            load_data(tmp_path / name, ACTIONS)
