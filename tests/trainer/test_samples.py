"""Samples are decoded by their schema; what cannot be learnt from is named, never guessed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from trainer.errors import SampleError
from trainer.samples import LearntOnce, decode_sample, label_key, served_list

ITEM = {"item_id": "i1", "position": 0, "propensity": 1.0, "row": [0.5, 1], "labels": {}}
IMPRESSION: dict[str, Any] = {
    "sample_id": "r1",
    "kind": "impression",
    "request_id": "r1",
    "user_id": "u1",
    "feature_schema_hash": "s",
    "items": [ITEM, {**ITEM, "item_id": "i2"}],
    "event_time_ms": 5,
}


def _decode(**changes: Any) -> Any:
    return decode_sample(msgspec.json.encode({**IMPRESSION, **changes}))


def test_impression_brings_no_event() -> None:
    """Being shown is nothing that the user did."""
    assert _decode().event is None


def test_nulls_mean_absent() -> None:
    """Flink writes absent fields as null."""
    sample = _decode(kind="organic", request_id=None, feature_schema_hash=None, value=None, outcome=None, event_id=None)
    assert (sample.event.event_id, sample.event.outcome) == ("r1", 0)


def test_unknown_fields_are_passed_over() -> None:
    """A newer writer may say more."""
    assert _decode(mood="new").user_id == "u1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "rumour"}, "unknown_kind"),
        ({"items": []}, "bad_items"),
        ({"items": [ITEM] * 502}, "bad_items"),
        ({"request_id": ""}, "missing_request_id"),
        ({"user_id": ""}, "bad_id"),
        ({"user_id": "x" * 129}, "bad_id"),
        ({"event_time_ms": -1}, "bad_value"),
        ({"outcome": 7}, "bad_value"),
        ({"user_id": 5}, "not_a_sample"),
    ],
)
def test_what_cannot_be_learnt_has_a_reason(changes: dict[str, Any], reason: str) -> None:
    """One short code a kind of fault."""
    with pytest.raises(SampleError) as caught:
        _decode(**changes)
    assert caught.value.reason == reason


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"sample_id": NaN}'])
def test_garbage_is_no_sample(raw: bytes) -> None:
    """Any bytes end in the same named refusal."""
    with pytest.raises(SampleError, match="cannot be decoded"):
        decode_sample(raw)


def test_first_entry_of_an_item_counts() -> None:
    """A correction names the labelled item first and repeats it in the list."""
    sample = _decode(kind="correction", items=[{**ITEM, "labels": {"like": 1.0}}, {**ITEM, "item_id": "i2"}, ITEM])
    shown = served_list(sample, num_inputs=2, schema_hash="s")
    assert dict(zip(shown.item_ids, shown.labels, strict=True)) == {"i1": 1, "i2": None}


@pytest.mark.parametrize(
    ("row", "schema", "reason"),
    [([0.5], "s", "row_length"), ([0.5, 1e39], "s", "not_finite"), ([0.5, -1e7], "s", "too_large"),
     ([0.5, 1], "t", "schema")],
)  # fmt: skip
def test_rows_must_be_of_the_schema_and_finite(row: list[float], schema: str, reason: str) -> None:
    """Another length, another schema, a number beyond float32 or one that would spoil the statistics is refused."""
    with pytest.raises(SampleError) as caught, np.errstate(over="ignore"):
        served_list(_decode(items=[{**ITEM, "row": row}]), num_inputs=2, schema_hash=schema)
    assert caught.value.reason == reason


def test_label_key_tells_every_part_apart() -> None:
    """Request, item, head and value all count, and no two splits of the same text are equal."""
    keys = {
        label_key("r", "i", "h", 0),
        label_key("r", "i", "h", 1),
        label_key("ri", "", "h", 0),
        label_key("r", "i", "x", 0),
    }
    assert len(keys) == 4


def test_learnt_once_forgets_the_oldest() -> None:
    """The set is bounded, and saved and restored in order."""
    learnt = LearntOnce(limit=2)
    keys = [label_key("r", str(i), "h", 0) for i in range(3)]
    assert [learnt.add(key) for key in (keys[0], keys[0], keys[1], keys[2])] == [True, False, True, True]
    other = LearntOnce(limit=2)
    other.restore(learnt.arrays())
    assert [key in other for key in keys] == [False, True, True]


def at(broker_time_ms: int, kind: str = "organic", served_time_ms: int = 0) -> Any:
    """A sample of some time."""
    return _decode(kind=kind, broker_time_ms=broker_time_ms, served_time_ms=served_time_ms)


def test_learnt_once_keeps_its_time_and_refuses_what_is_older() -> None:
    """Behind the horizon keys go, and samples of that time are refused, as nobody knows whether they were learnt."""
    learnt = LearntOnce(limit=100, keep_ms=1000)
    for time_ms in (5000, 5400, 6100):
        learnt.admit(at(time_ms))
        learnt.add(label_key("r", str(time_ms), "h", 0))
    learnt.advance(6399)
    assert len(learnt) == 2
    learnt.admit(at(5001))
    with pytest.raises(SampleError, match="labels are remembered"):
        learnt.admit(at(5000))
    with pytest.raises(SampleError, match="labels are remembered"):
        learnt.admit(at(6300, "impression", served_time_ms=4999))


def test_clock_of_learnt_once_never_falls_and_waits_for_held_windows() -> None:
    """What a held window may bring is remembered, however old."""
    learnt = LearntOnce(limit=100, keep_ms=1000)
    learnt.admit(at(5000))
    learnt.add(label_key("r", "i", "h", 0))
    learnt.keep_from(4000)
    learnt.advance(9000)
    assert len(learnt) == 1
    learnt.keep_from(None)
    learnt.advance(0)
    assert len(learnt) == 0


def test_restored_learnt_once_forgets_and_refuses_alike() -> None:
    """Stamps, clock and bound are part of the state."""
    learnt, other = LearntOnce(limit=2, keep_ms=1000), LearntOnce(limit=2, keep_ms=1000)
    for time_ms in (5000, 5500, 6000):
        learnt.admit(at(time_ms))
        learnt.add(label_key("r", str(time_ms), "h", 0))
    learnt.advance(6501)
    other.restore(learnt.arrays())
    assert (len(other), other.forgotten_early) == (1, 1)
    with pytest.raises(SampleError, match="labels are remembered"):
        other.admit(at(5500))
    assert all((a == b).all() for a, b in zip(learnt.arrays().values(), other.arrays().values(), strict=True))
