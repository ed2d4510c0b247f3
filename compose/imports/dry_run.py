"""`--dry-run`: what files would send, without a stack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from compose.imports.events_file import EventsFile, ImportOptions
from compose.imports.progress import every, import_progress
from compose.imports.survey import Survey
from compose.terminal_text import shown, utc
from headrace_client.records import encode_event

_SHOWN_EVERY = 500
_SHOWN_REASONS = 12


def survey_files(paths: Sequence[Path], options: ImportOptions) -> list[Survey]:
    """Read files as `--dry-run` does.

    Raises:
        EventsFileError: one cannot be used.
    """
    with import_progress() as progress:
        return [_survey_one(path, options, progress) for path in paths]


def _survey_one(path: Path, options: ImportOptions, progress: Progress) -> Survey:
    bar = progress.add_task(f"checking {path.name}", total=None)
    return EventsFile(path, options).survey(every(_SHOWN_EVERY, lambda row: progress.update(bar, completed=row)))


def print_surveys(surveys: Sequence[Survey], topic: str, as_json: bool) -> None:
    """Print what `--dry-run` found; `topic` is where the events would go."""
    if as_json:
        print(json.dumps({"topic": topic, "files": [survey.to_json() for survey in surveys]}, indent=2))
        return
    for survey in surveys:
        _print_survey(survey, topic)


def _print_survey(survey: Survey, topic: str) -> None:
    """Print what would be sent."""
    print(f"{survey.file}: {survey.rows:,} rows make {survey.events:,} events for {topic}; nothing was sent")
    print(f"  from {utc(survey.oldest_ms)} to {utc(survey.newest_ms)}")
    for name, count in survey.actions.most_common():
        print(f"  {count:>12,}  {shown(name)}")
    _print_left_out(survey)
    for event in survey.first_events:
        print(f"  {shown(encode_event(event)[1].decode())}")


def _print_left_out(survey: Survey) -> None:
    """Print what is not sent, and why."""
    for reason, count in survey.left_out.most_common(_SHOWN_REASONS):
        print(f"  {count:>12,}  left out: {shown(reason)}")
    if survey.first_problem:
        print(f"  the first row that cannot be used: {shown(survey.first_problem)}")
