"""The commands by which events come in: `replay`, `backfill`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli_options import (
    DEFAULT_CONFIG,
    DEFAULT_STATE,
    ConfigOption,
    EndpointsOption,
    JsonOption,
    StateOption,
    addresses,
)
from compose.imports.shipped import NATIVE, SHIPPED
from features.config import load_app_config

if TYPE_CHECKING:
    from compose.imports.events_file import ImportOptions

_FORMATS = "parquet, .jsonl, .ndjson, .json (one object a line) or .csv; all but parquet also with .gz."
MappingOption = Annotated[
    str, typer.Option("--mapping", help=f"A mapping under `imports` in headrace.yaml, or {', '.join(SHIPPED)}.")
]
SaltOption = Annotated[
    str, typer.Option("--salt", help="Any text; a file sent again counts again only with another one.")
]
SkipUnknownOption = Annotated[
    bool, typer.Option("--skip-unknown", help="Leave out events of actions that headrace.yaml does not declare.")
]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be sent: counts, times, the first three events.")
]


def replay(
    file: Annotated[Path, typer.Argument(help=_FORMATS)],
    mapping: MappingOption = NATIVE,
    speed: Annotated[float, typer.Option(min=0.0, help="Times the file's own pace; 0 is as fast as possible.")] = 1.0,
    salt: SaltOption = "",
    skip_unknown: SkipUnknownOption = False,
    skip_bad: SkipBadOption = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the events of a file to Kafka as if they happened now, with the file's own spacing.

    Their own times are kept in the context as `original_time_ms`. For events with their own times: `headrace backfill`.
    """
    from compose.imports.dry_run import print_surveys, survey_files
    from compose.replay import print_summary, replay_file
    from headrace_client import EVENTS_TOPIC

    options = import_options(config, mapping, salt, skip_unknown, skip_bad)
    if dry_run:
        print_surveys(survey_files([file], options), EVENTS_TOPIC, as_json)
        return
    summary = replay_file(file, addresses(state, endpoints), options, speed)
    print_summary(summary, as_json)
    raise typer.Exit(summary.exit_code)


def backfill(
    files: Annotated[list[Path], typer.Argument(help=_FORMATS)],
    mapping: MappingOption = NATIVE,
    salt: SaltOption = "",
    skip_unknown: SkipUnknownOption = False,
    skip_bad: SkipBadOption = False,
    dry_run: DryRunOption = False,
    again: Annotated[bool, typer.Option("--again", help="Send also what earlier runs have sent.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = DEFAULT_STATE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send years of history, each event with its own time, however old.

    The rows may stand in any order: counters and histories are made of sets. Events without an id get one made of
    their content, so that overlapping files count once. All files are checked before anything is sent. A run that was
    killed goes on behind the last acknowledged row when the same command is run again; what it may send twice has the
    same ids. Its progress is kept in STATE/backfill by the content of the file.
    """
    from compose.backfill import Backfill, print_summary
    from compose.imports.dry_run import print_surveys, survey_files
    from headrace_client import HISTORY_TOPIC

    options = import_options(config, mapping, salt, skip_unknown, skip_bad)
    if dry_run:
        print_surveys(survey_files(files, options), HISTORY_TOPIC, as_json)
        return
    remembered_h = 2 * load_app_config(config).features.horizon_h
    summary = Backfill(addresses(state, endpoints), options, remembered_h, again).run(files)
    print_summary(summary, as_json)
    raise typer.Exit(summary.exit_code)


def import_options(config: Path, mapping: str, salt: str, skip_unknown: bool, skip_bad: bool) -> ImportOptions:
    """Return how the options say that files are read.

    Raises:
        ConfigError: there is no such mapping.
    """
    from compose.imports.events_file import ImportOptions
    from compose.imports.mapping import load_mapping

    declared = tuple(load_app_config(config).actions)
    return ImportOptions(load_mapping(config, mapping), declared, salt, skip_unknown, skip_bad)
