"""The command `headrace plan`; what it does lies in `compose/sizing/`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli_options import JsonOption, print_json

if TYPE_CHECKING:
    from compose.sizing.plan import PlanRow
    from compose.sizing.unit_costs import UnitCosts


def plan(
    events_per_s: Annotated[float, typer.Option("--events-per-s", min=0.1, max=1e7, help="At the peak.")],
    items: Annotated[int, typer.Option("--items", min=1, max=10**9, help="Items in the catalogue.")],
    users: Annotated[int, typer.Option("--users", min=1, max=10**11, help="Users whose features are kept.")],
    qps: Annotated[float, typer.Option("--qps", min=0.1, max=1e7, help="`Recommend` calls a second, at the peak.")],
    list_length: Annotated[int, typer.Option("--list-length", min=1, max=500, help="Items shown a list.")] = 10,
    teaching_share: Annotated[
        float, typer.Option("--teaching-share", min=0, max=1, help="Share of the events that are no neutral ones.")
    ] = 0.3,
    mean_share: Annotated[
        float, typer.Option("--mean-share", min=0.01, max=1, help="Mean load over a day, of the peak.")
    ] = 0.4,
    busy: Annotated[
        float, typer.Option("--busy", min=0.05, max=1, help="Share of a core that is used at the peak.")
    ] = 0.5,
    retention_days: Annotated[float, typer.Option("--retention-days", min=0.1, help="Of events and lists.")] = 7.0,
    replication: Annotated[int, typer.Option("--replication", min=1, max=9, help="Copies in Kafka.")] = 3,
    costs: Annotated[
        Path | None,
        typer.Option("--costs", help="Unit costs of your own machines (YAML, as compose/sizing/unit_costs.yaml)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Size a deployment: partitions, parallelism, processes, memory, disk and network, from measured unit costs."""
    from compose.sizing.plan import Load
    from compose.sizing.plan import plan as sizes_of
    from compose.sizing.unit_costs import load_unit_costs

    unit_costs = load_unit_costs(costs)
    load = Load(
        events_per_s,
        items,
        users,
        qps,
        list_length,
        teaching_share,
        mean_share,
        busy,
        retention_days=retention_days,
        replication=replication,
    )
    rows = sizes_of(load, unit_costs)
    if as_json:
        print_json({"load": asdict(load), "parts": [asdict(row) for row in rows], "costs": _costs_json(unit_costs)})
    else:
        _print_rows(rows, unit_costs)


def _costs_json(costs: UnitCosts) -> dict[str, object]:
    return costs.model_dump(mode="json")


def _print_rows(rows: list[PlanRow], costs: UnitCosts) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("part", "size", "why", show_lines=False)
    for row in rows:
        table.add_row(row.part, row.size, row.why)
    console.print(table)
    for row in rows:
        if row.limit:
            console.print(f"[yellow]beyond what runs today[/]: {row.part}: {row.limit}")
    dates = sorted(getattr(costs, name).date for name in type(costs).model_fields)
    console.print(
        f"from unit costs measured {dates[0]} to {dates[-1]} on shared cores; --json tells each with its command. "
        "Measure yours, and try the result with `headrace load`."
    )
