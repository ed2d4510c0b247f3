"""Metrics of a slice are those of its samples, and slices are few."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from features.config import AppConfig
from tests.trainer.conftest import organic
from tests.trainer.evaluation.evaluation_parts import SMALL, stream_of, write_events, write_lists
from trainer.config import SlicesConfig
from trainer.evaluation.outcome import parts_of
from trainer.evaluation.replay import Replay
from trainer.online_learner import OnlineLearner
from trainer.slices import Slices


def test_sample_belongs_to_what_is_declared() -> None:
    """New or known user, declared actions, declared values of the context; nothing else."""
    slices = Slices(SlicesConfig(actions=("like",), context={"device": ("phone", "desktop")}))
    sample = msgspec.structs.replace(organic(1, 2, 3), context={"device": "phone", "city": "Rome"})
    assert slices.of(sample, 4) == ("user=new", "action=like", "device=phone")
    assert slices.of(organic(1, 2, 3, outcome=0), 5) == ("user=known",)
    assert Slices(SlicesConfig(user=False)).of(sample, 0) == ()


def test_too_many_slices_are_refused() -> None:
    """Each is a series in every store of metrics."""
    with pytest.raises(ValidationError, match="25 slices are declared, at most 24"):
        SlicesConfig(context={"city": tuple(f"c{index}" for index in range(23))})


def test_evaluate_tells_slices_beside_what_it_told(app: AppConfig, tmp_path: Path) -> None:
    """Hit rates of new and known users mix to the whole by their counts; misses are counted in theirs."""
    people = [(f"u{index % 3}", f"i{index * index % 7}", "like") for index in range(60)]
    request_ids = ["r" if index == 59 else "" for index in range(60)]
    events = write_events(tmp_path / "events.parquet", people, request_id=request_ids)
    served = write_lists(tmp_path / "served.parquet", [("r", people[59][0], 58, [people[59][1], "i0", "i5"])])
    outcome = Replay(OnlineLearner(app, SMALL, lists_only_seen=True), stream_of(app, events, served)).run()
    totals, parts = outcome.totals, parts_of(outcome.totals)
    new, known = (totals.means[f"hr@10[user={kind}]"] for kind in ("new", "known"))
    assert (new + known == totals.means["hr@10"]).all()
    assert set(parts["organic"]["slices"]) == {"user=new", "user=known"}
    assert set(parts["served"]["slices"]["user=known"]) <= {"gauc", "mrr", "ndcg@10", "user_gauc"}
    assert parts["served"]["user_gauc"] is not None
