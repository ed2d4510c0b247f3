"""The command `headrace init`; the texts that it writes are made in `compose/starter/`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.errors import StackError
from features.config import ConfigError

if TYPE_CHECKING:
    from compose.starter.answers import Answers

_CONFIG = "headrace.yaml"
_PRODUCER = "first_events.py"


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made where it does not exist.")] = Path(),
    name: Annotated[str, typer.Option("--name", help="The app's name; that of the folder by default.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="shop, media, articles or ratings: the usual actions.")] = "",
    action: Annotated[
        list[str] | None,
        typer.Option(
            "--action", help="NAME=positive, NAME=negative:0.5, NAME or 'rating=value >= 4'; again for each action."
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--events", help="A file of past events: actions and a mapping are guessed from its columns."),
    ] = None,
    surface: Annotated[str, typer.Option("--surface", help="Where the first list is shown.")] = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print headrace.yaml, write nothing.")] = False,
) -> None:
    """Write a commented headrace.yaml and a first event producer for an app of your own, after a few questions."""
    from compose.starter.configuration import configuration_text
    from compose.starter.producer_program import producer_text
    from compose.starter.questions import ask_all

    paths = {file: folder / file for file in (_CONFIG, _PRODUCER)}
    taken = [str(path) for path in paths.values() if path.exists()]
    if taken and not (force or dry_run):
        raise StackError(
            f"{' and '.join(taken)} exist already; name another folder (headrace init my-app), or --force to overwrite"
        )
    answers = _proposed(folder, name, kind, action or [], events, surface)
    if not yes and sys.stdin.isatty():
        answers = ask_all(lambda text, default: str(typer.prompt(text, default)), typer.echo, answers)
    text = configuration_text(answers, str(paths[_CONFIG]))
    if dry_run:
        typer.echo(text, nl=False)
        return
    _write({paths[_CONFIG]: text, paths[_PRODUCER]: producer_text(answers, _PRODUCER)})
    _say_what_next(paths[_CONFIG], paths[_PRODUCER], answers, events)


def _proposed(folder: Path, name: str, kind: str, actions: list[str], events: Path | None, surface: str) -> Answers:
    """Return the answers that options, the file or the defaults give."""
    from compose.starter.answers import KINDS, ActionAnswer, Answers, app_name_of, with_a_positive
    from compose.starter.events_guess import guess_import
    from features.config import nearest_name

    if kind and kind not in KINDS:
        raise ConfigError(f"--kind: unknown kind {kind!r}{nearest_name(kind, tuple(KINDS))}")
    imported = None
    said = list(KINDS[kind or "shop"])
    if events is not None:
        imported, said = guess_import(events)
    given = [ActionAnswer.parse(text) for text in actions]
    if given:
        names = {answer.name for answer in given}
        # Options say it all, but a file's actions must all be declared to be read.
        said = [*([one for one in said if one.name not in names] if imported else []), *given]
    return Answers(app_name_of(name or folder.resolve().name), with_a_positive(said), surface, imported)


def _write(files: dict[Path, str]) -> None:
    """Write files.

    Raises:
        StackError: the disk refuses.
    """
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StackError(f"cannot write {path}: {error.strerror}; name a folder that is yours") from error


def _say_what_next(config: Path, producer: Path, answers: Answers, events: Path | None) -> None:
    """Print the next commands; the state lies beside the configuration, so that no other app's stack is touched."""
    where = f"--config {config} --state {config.parent / 'state'}"
    lines = [f"headrace up {where}"]
    if answers.events:
        file = f"{events} --mapping {answers.events.name}"
        lines = [
            f"headrace backfill {file} --config {config} --dry-run   # what would be sent",
            f"headrace train --history {file} {where}   # the model learns the past",
            *lines,
            f"headrace backfill {file} {where}   # the features too",
        ]
    typer.echo(f"wrote {config} and {producer}; read {config.name}, then:")
    for line in [*lines, f"python {producer}", f"headrace recommend new-user --state {config.parent / 'state'}"]:
        typer.echo(f"  {line}")
