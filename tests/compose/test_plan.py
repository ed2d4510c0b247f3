"""`headrace plan` computes from measured unit costs only, and says what runs beyond what was tried."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compose.sizing.plan import Load, PlanRow, plan
from compose.sizing.unit_costs import UnitCost, UnitCosts, load_unit_costs
from features.config import ConfigError
from tests.compose.test_cli import run
from tests.running_stack import ROOT

SHOP = Load(events_per_s=100.0, items=20_000, users=100_000, qps=10.0)
COSTS = load_unit_costs()
OPTIONS = ["--events-per-s", "100", "--items", "20000", "--users", "100000", "--qps", "10"]


def sizes(load: Load, costs: UnitCosts = COSTS) -> dict[str, PlanRow]:
    """The plan by part."""
    return {row.part: row for row in plan(load, costs)}


@pytest.mark.parametrize("name", UnitCosts.model_fields)
def test_every_unit_cost_has_a_bench(name: str) -> None:
    """The command that prints it exists, with the options that are named."""
    cost: UnitCost = getattr(COSTS, name)
    words = shlex.split(cost.command)
    assert words[0] == "python"
    bench = ROOT / words[1]
    assert bench.parent == ROOT / "tests" / "bench"
    assert [word for word in words[2:] if word.startswith("--") and f'"{word}"' not in bench.read_text()] == []
    assert cost.machine


@pytest.mark.parametrize("name", UnitCosts.model_fields)
def test_every_unit_cost_is_used(name: str) -> None:
    """A row names it: what nobody computes with is not kept."""
    assert name in {cost for row in plan(SHOP, COSTS) for cost in row.costs}


def test_a_small_shop_fits_what_runs_today() -> None:
    """Nothing beyond what was tried, one of everything."""
    rows = sizes(SHOP)
    assert [row.limit for row in rows.values() if row.limit] == []
    assert [rows[part].figure for part in ("Ingesters", "Trainer workers", "Serving processes")] == [1, 1, 1]


def test_sizes_follow_the_costs_in_plain_arithmetic() -> None:
    """1,000 events/s of 81 µs are .081 cores; at half a core each that is one slot, 10,000 events/s are two."""
    costs = COSTS.model_copy(
        update={"feature_job_us_an_event": COSTS.feature_job_us_an_event.model_copy(update={"value": 81.0})}
    )
    assert sizes(replace(SHOP, events_per_s=1_000.0), costs)["Flink feature job"].figure == 1
    assert sizes(replace(SHOP, events_per_s=10_000.0), costs)["Flink feature job"].figure == 2
    a_process = 0.5 * 1e6 / COSTS["serving_us_a_request"]
    assert sizes(replace(SHOP, qps=a_process * 3))["Serving processes"].figure == 3


def test_what_runs_beyond_today_is_said() -> None:
    """One trainer and one ingester, state on the heap, an exact index."""
    big = Load(events_per_s=50_000.0, items=1_000_000, users=50_000_000, qps=2_000.0)
    beyond = {row.part for row in plan(big, COSTS) if row.limit}
    assert beyond >= {"Ingesters", "Trainer workers", "Flink state", "Serving processes", "Redis"}


def test_more_load_never_needs_less() -> None:
    """In any direction."""
    base = sizes(SHOP)
    grown: list[dict[str, Any]] = [{"events_per_s": 1e4}, {"items": 10**7}, {"users": 10**8}, {"qps": 1e4}]
    for change in grown:
        rows = sizes(replace(SHOP, **change))
        assert all(rows[part].figure >= row.figure for part, row in base.items())


def test_the_command_prints_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON tells each cost with its command and date."""
    assert run("plan", *OPTIONS) == 0
    assert "Kafka partitions" in capsys.readouterr().out
    assert run("plan", *OPTIONS, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["load"]["qps"] == 10.0
    assert found["costs"]["redis_bytes_a_user"]["date"] == "2026-11-30"


def test_costs_of_ones_own_take_the_place_of_ours(tmp_path: Path) -> None:
    """One by one; a name that nobody knows is refused."""
    own = tmp_path / "costs.yaml"
    entry = "{value: 1, unit: bytes, command: mine, date: 2026-01-31, machine: mine}"
    own.write_text(f"redis_bytes_a_user: {entry}\n")
    assert load_unit_costs(own)["redis_bytes_a_user"] == 1.0
    own.write_text(f"redis_bytes_an_user: {entry}\n")
    with pytest.raises(ConfigError, match="did you mean 'redis_bytes_a_user'"):
        load_unit_costs(own)
