"""Whatever bytes come: no crash, no number that is none, nothing told of the machine; 50 times as many by `fuzz.py`."""

from __future__ import annotations

from pathlib import Path

from features.warm_up import warm_up
from tests.faults.call_fuzz import calls_of, fuzz_calls
from tests.faults.event_fuzz import events_of_seed, fuzz_events

SEED = 20261130


async def test_no_mutated_call_harms_the_server(tmp_path: Path) -> None:
    """2,000 calls to all methods: refused in words or answered soundly, and an app in between always is."""
    warm_up()  # Else the loop compiles in the first call, and sound calls wait for it.
    verdict = await fuzz_calls(tmp_path, SEED, 2000)
    assert verdict.problems == []
    assert verdict.codes.total() == 2000
    assert {"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"} <= set(verdict.codes)
    assert verdict.healthy > 0


def test_all_readers_say_the_same_of_a_mutated_event(tmp_path: Path) -> None:
    """2,000 events: jobs, quality job and oracle take the same ones, and give the same reason for each other one."""
    verdict = fuzz_events(tmp_path, SEED, 2000)
    assert verdict.problems == []
    assert {"-", "not_json", "too_deep", "bad_value", "missing_user_id", "bad_context"} <= set(verdict.reasons)


def test_a_seed_mutates_alike() -> None:
    """What was seen once is seen again."""
    assert list(calls_of(7, 50, "t")) == list(calls_of(7, 50, "t"))
    assert list(events_of_seed(7, 50)) == list(events_of_seed(7, 50))
