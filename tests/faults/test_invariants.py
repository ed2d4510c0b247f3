"""The checker finds each kind of loss, doubling and wrong answer where one is planted, and nothing where none is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.history import HistoryWriter, ends_of, read_history
from tests.faults.invariants import check_acknowledged, check_answers, check_conserved, check_learnt
from trainer.batch_records import BatchEntry, Run

PLACE = ("t", 0, 5)


def acked(**changed: Any) -> dict[str, Any]:
    """One acknowledged send."""
    return {"type": "ok", "topic": "t", "crc": 7, "partition": 0, "offset": 5} | changed


def answer(op: str, time_s: float, **changed: Any) -> dict[str, Any]:
    """One good answer."""
    good = {"type": "ok", "op": op, "time_s": time_s, "version": "1.5", "is_sound": True, "reasons": [], "ms": 1.0}
    return good | changed


def test_acknowledged_records_must_lie_where_they_were_said_to() -> None:
    """As they were sent; one whose end nobody knows may lie anywhere."""
    assert not check_acknowledged([acked(), acked(type="info")], {PLACE: 7}).problems
    assert check_acknowledged([acked()], {}).problems == [f"I1: {PLACE} was acknowledged, and is lost"]
    assert check_acknowledged([acked()], {PLACE: 8}).problems == [f"I1: {PLACE} was acknowledged, and is another"]
    assert check_acknowledged([acked(), acked()], {PLACE: 7}).problems == [
        f"I1: {PLACE} was acknowledged to two records"
    ]


def test_what_is_neither_applied_nor_doubled_nor_rejected_is_lost() -> None:
    """To the record."""
    assert not check_conserved(10, 7, 2, 1).problems
    assert check_conserved(10, 7, 1, 1).problems[0].startswith("I1: 1 of 10")


def entry(*runs: tuple[int, int]) -> BatchEntry:
    """A batch of ranges of partition 0."""
    return BatchEntry([Run("headrace.samples.v1:0", first, end, end - first, 0) for first, end in runs], 0)


@pytest.mark.parametrize(
    ("entries", "events", "found"),
    [
        ([entry((0, 3)), entry((3, 5))], 4, []),
        ([entry((0, 3)), entry((2, 5))], 4, ["I3: headrace.samples.v1:0:2 stands in 2 batches"]),
        ([entry((0, 3))], 4, ["I3: 2 of 5 samples stand in no batch"]),
        ([entry((0, 5))], 5, ["I3: the learner counted 5 events, the samples hold 4"]),
    ],
)
def test_each_sample_is_learnt_once(entries: list[BatchEntry], events: int, found: list[str]) -> None:
    """Twice, never, and counted twice are told apart."""
    assert found == check_learnt(entries, events, {"headrace.samples.v1:0": 5}, 4).problems


def test_versions_rise_and_requests_are_answered_while_the_server_runs() -> None:
    """Where it was killed it may begin lower, and nobody is answered meanwhile."""
    falling = [answer("a", 1.0), answer("b", 2.0, version="1.4")]
    failing = [answer("a", 1.0), {"type": "info", "op": "b", "time_s": 2.0, "code": "UNAVAILABLE"}]
    assert not check_answers([answer("a", 1.0), answer("b", 2.0, version="2.1")], []).problems
    assert check_answers(falling, []).problems == ["I5: b came from 1.4 behind (1, 5)"]
    assert check_answers(failing, []).problems == ["I4: b ended with UNAVAILABLE"]
    assert not check_answers([*falling, failing[1]], [(1.5, 3.0)]).problems


def test_an_answer_is_sound_or_says_why_not() -> None:
    """No list with doubles or without end; no popularity without a reason."""
    assert check_answers([answer("a", 1.0, is_sound=False)], []).problems[0].startswith("I17: a")
    assert check_answers([answer("a", 1.0, version="")], []).problems[0].startswith("I7: a")
    assert not check_answers([answer("a", 1.0, version="", reasons=["no_model"])], []).problems


def test_a_history_tells_each_operation_once(tmp_path: Path) -> None:
    """What has no end is unknown; an end without a beginning is no history."""
    history = HistoryWriter(tmp_path / "h.jsonl")
    history.invoke("1", topic="t")
    history.invoke("2", topic="t")
    history.end("1", "ok", offset=3)
    history.close()
    ends = ends_of(read_history(tmp_path / "h.jsonl"))
    assert [(ends[op]["type"], ends[op].get("offset")) for op in ("1", "2")] == [("ok", 3), ("info", None)]
    with pytest.raises(ValueError, match="9 ended"):
        ends_of([{"type": "ok", "op": "9"}])
