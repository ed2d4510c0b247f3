"""The command `headrace train`; what it does lies in `compose/history_training.py` and `trainer/history.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    addresses,
)
from compose.commands_events import MappingOption, SaltOption, SkipBadOption, SkipUnknownOption, import_options
from compose.imports.shipped import NATIVE
from features.config import ConfigError

_HISTORY = "Events of the past: parquet, .jsonl, .ndjson, .json or .csv; may be given again, or several after it."
_ITEMS = "Parquet: item_id; optional title, categories, published_time_ms, expires_time_ms."
TRAIN_EPILOG = """Exit codes: 0 learnt and written, 1 the disk refuses, 2 a file, row, option or configuration cannot
be used, 4 a trainer runs on this state, 10 something was learnt there already, 130 interrupted; but for 0 the state is
as it was."""


def train(
    history: Annotated[list[Path] | None, typer.Option("--history", metavar="FILE", help=_HISTORY)] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Further files of history.")] = None,
    items: Annotated[Path | None, typer.Option("--items", metavar="ITEMS.parquet", help=_ITEMS)] = None,
    mapping: MappingOption = NATIVE,
    salt: SaltOption = "",
    skip_unknown: SkipUnknownOption = False,
    skip_bad: SkipBadOption = False,
    live_from: Annotated[
        int | None,
        typer.Option(
            "--live-from", min=0, metavar="TIME_MS", help="Go on with what Kafka took from here on; [the newest event]"
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Set aside (*.old-N) what was learnt in this state before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be learnt, and whether something is set aside.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: Annotated[Path, typer.Option("--state", help="State directory that the trainer will start from.")] = (
        DEFAULT_STATE
    ),
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn past events in time order, with the trainer's own code, as the state on which live learning begins.

    Needs no running stack. Events get the ids that `headrace backfill` gives them, so one that also comes through Kafka
    teaches once. The next trainer on this state goes on where the history ends. `docs/warm-start.md` says more.
    """
    files = [*(history or []), *(more or [])]
    if not files:
        raise ConfigError("train needs files to learn from; name them: headrace train --history FILE...")
    if dry_run:
        from compose.imports.dry_run import print_surveys, survey_files

        learnt = state / "trainer"
        target = f"the state in {state}"
        if any(
            (learnt / folder).is_dir() and any((learnt / folder).iterdir()) for folder in ("checkpoints", "batch_log")
        ):
            target += ", where what was learnt is set aside" if replace else ", which is refused without --replace"
        print_surveys(
            survey_files(files, import_options(config, mapping, salt, skip_unknown, skip_bad)), target, as_json
        )
        return
    # The trainer's code needs torch, which takes seconds: only this command pays for it.
    from compose.history_training import HistoryTraining, TrainOptions, print_summary

    options = TrainOptions(
        config=config,
        state=Path(addresses(state, endpoints).state) if endpoints else state.resolve(),
        imports=import_options(config, mapping, salt, skip_unknown, skip_bad),
        items=items,
        live_from_ms=live_from,
        replace=replace,
    )
    summary = HistoryTraining(options).run(files)
    print_summary(summary, as_json)
    raise typer.Exit(summary.exit_code)
