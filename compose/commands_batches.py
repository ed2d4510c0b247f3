"""`headrace batches`: look at the batches that were not learnt because a step would not have been finite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from compose.cli_options import DEFAULT_STATE, JsonOption, StateOption, print_json
from compose.errors import StackError

if TYPE_CHECKING:
    from trainer.refused_batches import RefusedBatch, RefusedBatches

batches_app = typer.Typer(help="Batches that were not learnt: a step would not have been finite.", no_args_is_help=True)


@batches_app.command("list")
def batches_list(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """List the batches that are kept, oldest first, with the step, the part of the model and the reason."""
    batches = _batches(state)
    found = [_read(batches, name) for name in batches.names()]
    if as_json:
        print_json([msgspec.to_builtins(header) for header, _ in found])
        return
    for header, _ in found:
        typer.echo(f"{header.name}  {header.reason}")
    if not found:
        typer.echo("no batch was refused")


@batches_app.command("show")
def batches_show(
    name: Annotated[str, typer.Argument(help="As `list` names it.")],
    state: StateOption = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="What it prints anyway.")] = True,
) -> None:
    """Print one batch as JSON: its records by offset, and of each array shape, extremes and values not finite.

    The arrays themselves are in STATE/trainer/refused_batches/NAME/batch.safetensors.
    """
    from trainer.refused_batches import summary_of

    header, arrays = _read(_batches(state), name)
    print_json(msgspec.to_builtins(header) | {"arrays": summary_of(arrays)})


def _batches(state: Path) -> RefusedBatches:
    from trainer.refused_batches import RefusedBatches

    return RefusedBatches(state / "trainer" / "refused_batches")


def _read(batches: RefusedBatches, name: str) -> tuple[RefusedBatch, dict[str, Any]]:
    from trainer.errors import RefusedBatchError

    try:
        return batches.read(name)
    except RefusedBatchError as error:
        raise StackError(f"{error}; `headrace batches list` names those that are kept") from error
