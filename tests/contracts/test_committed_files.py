"""What is committed names no machine, no registry host and carries no pickle."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = {"uv.lock", "jgo.lock.toml"}
"""Lock files are written by their tools, addresses included."""
FORBIDDEN = re.compile(
    "|".join(["pypi" + r"\.org", "pythonhosted" + r"\.org", "repo1?" + r"\.maven\.", "/" + r"root/", "/" + r"work/"])
)
MARKER = "@" + "@"
"""What scripts that fill a page in leave where they forget something; diffs hold it, pages never."""
UNSAFE = re.compile(r"\b(import (pickle|dill|joblib|cloudpickle)|torch\.load|pickle\.loads?)\b")


def committed_text() -> dict[str, str]:
    """Read every tracked text file."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [name for name in listed.splitlines() if name not in GENERATED and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text(errors="ignore") for name in paths}


def test_no_file_names_a_registry_or_a_machine() -> None:
    """Registry hosts and absolute paths of a machine stay out."""
    found = {name: match[0] for name, text in committed_text().items() if (match := FORBIDDEN.search(text))}
    assert found == {}


def test_no_page_holds_a_place_that_was_to_be_filled_in() -> None:
    """Every page says what it meant to say."""
    pages = {name: text for name, text in committed_text().items() if name.endswith(".md")}
    assert {name for name, text in pages.items() if MARKER in text} == set()


def test_no_code_can_unpickle() -> None:
    """No loader that executes code is used anywhere."""
    here = Path(__file__).relative_to(ROOT).as_posix()
    code = {name: text for name, text in committed_text().items() if name.endswith(".py") and name != here}
    assert {name for name, text in code.items() if UNSAFE.search(text)} == set()
