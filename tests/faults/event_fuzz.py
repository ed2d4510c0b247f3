"""Mutated events before everybody who reads raw events: the jobs' function, the quality job's, and the oracle.

The jobs' is Java (`streams/java/CheckEvent.java`), run without Flink; the oracle (`tests/oracle/plain_events.py`) was
written from the rules alone. All three must come to an end, name the same reason, and take no number that is none.
"""

from __future__ import annotations

import math
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from features.config import AppConfig, load_app_config
from features.quality.event_columns import ColumnBuffer
from tests.contracts.java_program import java_command
from tests.faults.mutations import mutated_event
from tests.oracle.plain_events import Record, events_of
from tests.running_stack import ROOT

NOW_MS = 1_790_000_000_000
_VALID: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "ann",
    "item_id": "item-001",
    "action": "rating",
    "event_time_ms": NOW_MS - 700,
    "value": 4,
    "request_id": "r1",
    "context": {"page": "home", "rank": [1, {"of": None}]},
    "request_token": "t",
}
_OF_THE_APP = ("unknown_action", "too_old")
"""Reasons that SQL finds behind the function."""
_BEFORE_THE_FIELDS = {"not_json", "too_deep"}
"""Which of both is told of a record that is both, depends on where a reader begins."""
_LEFT_TO_THE_JOBS = {"too_deep", "bad_context"}
"""What the quality job does not look for; nor half a character in a field that it does not read."""
_HALF = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)
_ACCEPTED = "-"


@dataclass
class EventVerdict:
    """What the records came to."""

    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    """Of this process: behind a tenth of the records, and at the end."""


def events_of_seed(seed: int, count: int) -> Iterator[bytes]:
    """Yield the records of a seed."""
    draw = random.Random(seed)
    for _ in range(count):
        yield mutated_event(_VALID, draw)


def fuzz_events(folder: Path, seed: int, count: int) -> EventVerdict:
    """Give the records of a seed to all three readers, and compare what each says."""
    verdict, own = EventVerdict(), psutil.Process()
    records = list(events_of_seed(seed, count))
    app = load_app_config(ROOT / "headrace.yaml")
    by_jobs = _read_by_jobs(folder, records)
    assert len(by_jobs) == len(records)
    for number, (raw, (reason, value)) in enumerate(zip(records, by_jobs, strict=True)):
        if number == count // 10:
            verdict.rss_mb.append(own.memory_info().rss / 2**20)
        verdict.reasons[reason] += 1
        problem = _problem(raw, reason, value, app)
        if problem:
            verdict.problems.append(f"{raw[:300]!r}: {problem}")
    verdict.rss_mb.append(own.memory_info().rss / 2**20)
    return verdict


def _read_by_jobs(folder: Path, records: Sequence[bytes]) -> list[tuple[str, float | None]]:
    """Return the reason of each record and the value of its event, as Java found them."""
    lines = "".join(f"{raw.hex()}\n" for raw in records)
    done = subprocess.run(
        java_command(folder, "Events"), input=lines, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    fields = [line.split("\t") for line in done.stdout.splitlines()]
    return [(reason, None if value == "-" else float(value)) for reason, value in fields]


def _problem(raw: bytes, by_jobs: str, value: float | None, app: AppConfig) -> str:
    """Say where readers differ, or what should not have been taken; nothing where all is well."""
    by_oracle, by_quality = _read_by_oracle(raw, app), _read_by_quality(raw, app)
    if value is not None and not math.isfinite(value):
        return f"the jobs take {value}"
    expected = _ACCEPTED if by_oracle in _OF_THE_APP else by_oracle
    if by_jobs != expected and not {by_jobs, expected} <= _BEFORE_THE_FIELDS:
        return f"the jobs say {by_jobs}, the oracle {by_oracle}"
    is_left = {by_jobs, by_oracle} & _LEFT_TO_THE_JOBS or (by_quality == "not_json" and _HALF.search(raw))
    return (
        f"the quality job says {by_quality}, the oracle {by_oracle}" if by_quality != by_oracle and not is_left else ""
    )


def _read_by_oracle(raw: bytes, app: AppConfig) -> str:
    _, letters = events_of([Record("headrace.events.v1", 0, 0, NOW_MS, "", raw)], app.model_dump())
    return next((letter.reason for letter in letters.values()), _ACCEPTED)


def _read_by_quality(raw: bytes, app: AppConfig) -> str:
    buffer = ColumnBuffer(app)
    buffer.append(raw, NOW_MS)
    columns = buffer.columns()
    if any(math.isinf(value) for value in columns.values):
        return "an infinite value"
    return next(iter(columns.unusable), _ACCEPTED)
