"""The docs build with strict links, fetch nothing, and every command in them exists as it is written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from compose.cli import app
from compose.reference.__main__ import pages
from features.config import load_section
from serving.config import ServingConfig
from tests.compose.documented_commands import DOCS, FENCE, block_commands
from tests.running_stack import ROOT

_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=\"?https?:|<link[^>]+(?:stylesheet|preconnect|icon)[^>]+https?:"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as CI builds it."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_fetches_nothing_from_other_hosts(site: Path) -> None:
    """No script, style, font or picture; links that people click may lead outside."""
    found = {path.name: match[0] for path in site.rglob("*.html") if (match := _FETCHED.search(path.read_text()))}
    assert found == {}
    assert not [path for path in site.rglob("*.css") if re.search(r"url\(\"?https?:", path.read_text())]


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody finds is not written."""
    navigation = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    names = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert [name for name in names if f"'{name}'" not in navigation] == []


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
def test_generated_pages_are_current(path: Path) -> None:
    """`python -m compose.reference` writes them."""
    assert path.read_text(encoding="utf-8") == pages()[path]


COMMANDS = sorted(
    (page, re.sub(r"^\.venv/bin/", "", command))
    for command, page in block_commands().items()
    if re.match(r"(\.venv/bin/)?headrace ", command)
)


def words_of(line: str) -> list[str]:
    """The arguments of a command, as far as the shell gives them to it."""
    words = shlex.split(line)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", ">>", "&&", "&", ";")]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_shown_can_be_given(page: str, line: str) -> None:
    """Verb, options and their values are parsed by the real command line; nothing is run."""
    command: Any = typer.main.get_command(app)
    words = words_of(line)
    names = ["headrace"]
    while words and words[0] in getattr(command, "commands", {}):
        names.append(words.pop(0))
        command = command.commands[names[-1]]
    assert not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False), line
    command.make_context(" ".join(names), words)


def test_commands_are_found_at_all() -> None:
    """A change of the fences must not make the test above hold nothing."""
    assert len(COMMANDS) > 40


def test_the_experiment_of_the_tutorial_can_be_loaded(tmp_path: Path) -> None:
    """Its section as it stands there."""
    [text] = [
        text
        for kind, text in FENCE.findall((DOCS / "tutorials" / "ab-test.md").read_text())
        if kind == "yaml" and "experiment" in text
    ]
    (tmp_path / "headrace.yaml").write_text(text)
    serving = load_section(tmp_path / "headrace.yaml", "serving", ServingConfig)
    assert list(serving.arms) == ["champion", "drawn"]


def test_every_picture_is_there_and_says_what_it_shows() -> None:
    """Drawn as SVG in the repository, with words for those who do not see it."""
    for page in DOCS.rglob("*.md"):
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert alt
            assert (page.parent / target).exists(), f"{page.name}: {target}"
