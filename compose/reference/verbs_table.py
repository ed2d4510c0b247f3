"""The verbs of `headrace` as a table, and the exit codes, from the command line itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main

from compose.cli import app
from compose.errors import EXIT_CODES


def verbs() -> Iterator[tuple[list[str], Any]]:
    """Yield the words and the command of every verb."""
    yield from _below([], typer.main.get_command(app))


def options_of(command: Any) -> set[str]:
    """Return the names of a command's options."""
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def exit_codes() -> list[tuple[int, str]]:
    """Return every exit code with what it means."""
    text = EXIT_CODES.removeprefix("Exit codes: ").rstrip(".").replace("\n", " ")
    return [(int(code), what) for code, what in re.findall(r"(\d+) ([^,]+)", text)]


def verbs_page() -> str:
    """Return both tables."""
    rows = ["| verb | what it does | `--json` | `--dry-run` |", "|---|---|---|---|"]
    for words, command in verbs():
        options = options_of(command)
        first = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        marks = ["yes" if option in options else "" for option in ("--json", "--dry-run")]
        rows.append(f"| `headrace {' '.join(words)}` | {first} | {marks[0]} | {marks[1]} |")
    codes = ["| exit code | meaning |", "|---|---|", *(f"| {code} | {what} |" for code, what in exit_codes())]
    return "## Verbs\n\n" + "\n".join(rows) + "\n\n## Exit codes\n\n" + "\n".join(codes) + "\n"


def _below(words: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
    subcommands = getattr(command, "commands", {})
    if not subcommands or getattr(command, "invoke_without_command", False):
        yield words, command
    for name in sorted(subcommands):
        yield from _below([*words, name], subcommands[name])
