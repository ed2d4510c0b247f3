"""The commands that README and docs show, and the table of which test runs each: `documented_commands.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tests.running_stack import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"), ROOT / "compose" / "client" / "README.md"]
)
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
_TABLE = Path(__file__).with_suffix(".yaml")
_SHELLS = ("bash", "sh", "console", "shell")
_PROGRAM = re.compile(r"(?:\.venv/bin/)?(?:headrace|python3?|make|pip|uv|docker|kubectl|npm|npx|go|protoc|source|\.)\s")
"""What begins a command in a block that names no language; drawings and listings are such blocks too."""


class CommandTable(BaseModel):
    """Where each command of the docs is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    alone: list[list[str]]
    """Stories: run in this order in one folder, without a stack."""
    stack: list[str]
    """Run in this order on the stack that tests share."""
    elsewhere: dict[str, str]
    """Command -> `FILE::TEST` that runs it."""
    not_run: dict[str, str]
    """Command -> why not, and what is checked instead."""
    replaced: dict[str, str]
    """What a test cannot take as it stands -> what it types instead."""
    until_interrupted: list[str]
    """Commands that run until Ctrl-C, which a test sends once they say READY."""
    exit_codes: dict[str, list[int]]
    """Command -> exit codes that are right, where that is not 0 alone."""

    def places(self) -> list[str]:
        """Return every command once for each place it has."""
        return [
            *(command for story in self.alone for command in story),
            *self.stack,
            *self.elsewhere,
            *self.not_run,
        ]

    def typed(self, command: str) -> str:
        """Return what a test types for a command."""
        for shown, instead in self.replaced.items():
            command = command.replace(shown, instead)
        return command


def read_table() -> CommandTable:
    """Return the table."""
    return CommandTable(**yaml.safe_load(_TABLE.read_text(encoding="utf-8")))


@cache
def block_commands() -> dict[str, str]:
    """Return every command of a code block, without comment and prompt, with the first page that shows it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in _lines(kind, text):
                found.setdefault(line, page.relative_to(ROOT).as_posix())
    return found


def _lines(kind: str, text: str) -> Iterator[str]:
    """Return the commands of one block; where some lines have a prompt, the others are what was answered."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        command = re.sub(r"\s+", " ", re.sub(r"(^|\s+)#.*$", "", line)).strip()
        if command and (kind in _SHELLS or (not kind and _PROGRAM.match(f"{command} "))):
            yield command


@cache
def mentioned_commands() -> dict[str, str]:
    """Return every `headrace ...` of the running text that names a verb, with the first page that has it."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for span in re.findall(r"`(?:\$ )?(?:\.venv/bin/)?(headrace [a-z][^`]*)`", text):
            for command in span.split("; "):
                found.setdefault(command, page.relative_to(ROOT).as_posix())
    return found
