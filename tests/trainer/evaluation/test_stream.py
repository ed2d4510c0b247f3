"""Files become the samples that the sample job would have made, in time order; bad ones end in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from features.config import AppConfig
from features.label_config import LabelsConfig, resolve_labels
from tests.trainer.conftest import START_MS
from tests.trainer.evaluation.evaluation_parts import stream_of, write_events, write_lists, write_table
from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.stream import read_items, read_stream

_EVENTS = [("a", "x", "like"), ("b", "y", "like"), ("a", "z", "view")]


def test_files_are_read_in_time_order(app: AppConfig, tmp_path: Path) -> None:
    """The order of the file does not matter."""
    path = write_events(tmp_path / "events.parquet", _EVENTS)
    pq.write_table(pq.read_table(path).take([2, 0, 1]), path)
    assert [entry.sample.items[0].item_id for entry in stream_of(app, path).entries] == ["x", "y", "z"]


def test_whole_numbers_are_ids(app: AppConfig, tmp_path: Path) -> None:
    """Many files have numbers for users."""
    path = write_events(tmp_path / "events.parquet", _EVENTS, user_id=[7, 8, 7])
    assert stream_of(app, path).entries[0].sample.user_id == "7"


def test_feedback_on_a_list_is_a_correction(app: AppConfig, tmp_path: Path) -> None:
    """The list comes first; its item, its user and its request must all fit."""
    events = [("a", "x", "like"), ("b", "x", "like"), ("a", "q", "like"), ("a", "y", "like")]
    path = write_events(tmp_path / "events.parquet", events, request_id=["r", "r", "r", "other"])
    stream = stream_of(app, path, write_lists(tmp_path / "served.parquet", [("r", "a", 0, ["y", "x"])]))
    kinds = [entry.sample.kind for entry in stream.entries]
    assert kinds == ["impression", "correction", "organic", "organic", "organic"]
    correction = stream.entries[1].sample
    assert [(item.item_id, item.labels) for item in correction.items[:2]] == [("x", {"like": 1.0}), ("y", None)]
    assert stream.unknown_requests == 1


def test_lists_wait_for_their_window(app: AppConfig, tmp_path: Path) -> None:
    """Under `wait` a list is learnt one window later; a mark stands where it was shown."""
    labels = resolve_labels(LabelsConfig(policy="wait", window_s=1.5), app)
    path = write_events(tmp_path / "events.parquet", _EVENTS)
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 0, ["y", "x"])])
    entries = stream_of(app, path, served, labels).entries
    assert [(entry.time_ms - START_MS, entry.is_mark) for entry in entries if entry.sample.event is None] == [
        (0, True),
        (1500, False),
    ]


def test_late_feedback_only_counts(app: AppConfig, tmp_path: Path) -> None:
    """Behind the correction horizon it would be a dead letter."""
    labels = resolve_labels(LabelsConfig(correction_horizon_h=0.0001, window_s=0.2), app)
    path = write_events(tmp_path / "events.parquet", _EVENTS[:1], event_time_ms=[START_MS + 500], request_id=["r"])
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 0, ["x"])])
    assert [entry.only_counts for entry in stream_of(app, path, served, labels).entries] == [False, True]


def test_limit_keeps_the_first_events(app: AppConfig, tmp_path: Path) -> None:
    """And no list after the last of them."""
    path = write_events(tmp_path / "events.parquet", _EVENTS)
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 0, ["x"]), ("s", "a", 2, ["x"])])
    stream = read_stream(path, app, resolve_labels(LabelsConfig(), app), served, limit=2)
    assert (stream.num_events, stream.num_lists) == (2, 1)


def test_items_become_records(tmp_path: Path) -> None:
    """Everything but the id is optional."""
    path = write_table(tmp_path / "items.parquet", {"item_id": ["x"], "categories": [["drama", "war"]]})
    record = msgspec.json.decode(read_items(path)["x"])
    assert (record["categories"], record["is_available"], record["title"]) == (["drama", "war"], True, "")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"event_time_ms": ["now", "then", "later"]}, "column event_time_ms is string"),
        ({"event_time_ms": [START_MS, None, 1]}, "column event_time_ms row 2 has None"),
        ({"user_id": ["a", "", "b"]}, "column user_id row 2 has 0 bytes"),
        ({"item_id": [0.5, 1.5, 2.5]}, "column item_id is double"),
        ({"value": ["four", "five", "six"]}, "column value is string, must be numbers"),
        ({"action": ["like", "likes", "view"]}, "column action holds 'likes'"),
    ],
)
def test_bad_columns_are_named(columns: dict[str, Any], said: str, app: AppConfig, tmp_path: Path) -> None:
    """File, column and what is wrong with it."""
    path = write_events(tmp_path / "events.parquet", _EVENTS, **columns)
    with pytest.raises(EvaluationError, match=said) as caught:
        stream_of(app, path)
    assert str(path) in str(caught.value)


def test_missing_columns_and_files_are_named(app: AppConfig, tmp_path: Path) -> None:
    """So that the mend is plain."""
    path = write_table(tmp_path / "events.parquet", {"user_id": ["a"], "item_id": ["x"], "event_time_ms": [1]})
    with pytest.raises(EvaluationError, match="lacks the column action; add it, or name one for all with --action"):
        stream_of(app, path)
    with pytest.raises(EvaluationError, match="does not exist"):
        stream_of(app, tmp_path / "none.parquet")
    path.write_text("no parquet")
    with pytest.raises(EvaluationError, match="cannot read"):
        stream_of(app, path)
    served = write_table(tmp_path / "served.parquet", {"request_id": ["r"], "user_id": ["a"]})
    with pytest.raises(EvaluationError, match="lacks the column item_id, position, served_time_ms"):
        stream_of(app, write_events(path, _EVENTS), served)


def test_lists_of_two_users_are_refused(app: AppConfig, tmp_path: Path) -> None:
    """One request is one list."""
    path = write_events(tmp_path / "events.parquet", _EVENTS)
    served = write_lists(tmp_path / "served.parquet", [("r", "a", 0, ["x"]), ("r", "b", 0, ["y"])])
    with pytest.raises(EvaluationError, match="request_id 'r' differ"):
        stream_of(app, path, served)
