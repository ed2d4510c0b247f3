"""What the guide for app teams shows works as it is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.dlq_mend import problem_of
from compose.imports.mapping import MappingConfig, load_mappings
from compose.imports.shipped import SHIPPED
from features.config import load_app_config, load_section
from features.request_token_config import RequestTokensConfig
from tests.compose.small_stack import ROOT
from tests.compose.test_cli import run

GUIDE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The code blocks of one kind."""
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if "imports:" in text])
def test_every_mapping_shown_can_be_loaded(text: str, tmp_path: Path) -> None:
    """As part of a configuration."""
    data: dict[str, Any] = {"actions": {"click": {"outcome": "positive"}}, **yaml.safe_load(text)}
    (tmp_path / "headrace.yaml").write_text(yaml.safe_dump(data))
    assert load_mappings(tmp_path / "headrace.yaml")


def test_request_tokens_are_switched_on_as_shown(tmp_path: Path) -> None:
    """By the one line, and they are off without it."""
    [text] = [text for text in blocks("yaml") if "request_tokens:" in text]
    (tmp_path / "headrace.yaml").write_text(text)
    assert load_section(tmp_path / "headrace.yaml", "request_tokens", RequestTokensConfig).is_enabled
    assert not load_section(ROOT / "headrace.yaml", "request_tokens", RequestTokensConfig).is_enabled


def test_the_record_shown_is_a_good_event() -> None:
    """Under the configuration of this repository."""
    [text] = blocks("json")
    assert problem_of(json.loads(text), load_app_config(ROOT / "headrace.yaml")) == ""


def test_every_key_of_a_mapping_is_told() -> None:
    """And every shipped mapping."""
    assert [
        name
        for name in (*MappingConfig.model_fields, *SHIPPED)
        if f"`{name}`" not in GUIDE and name not in str(blocks("yaml"))
    ] == []


@pytest.mark.parametrize("words", sorted(set(re.findall(r"^headrace ([a-z]+(?: [a-z]+)?)", GUIDE, flags=re.MULTILINE))))
def test_every_command_shown_exists(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its options."""
    assert run(*words.split(), "--help") == 0
    text = capsys.readouterr().out
    shown = {
        option
        for line in re.findall(rf"^headrace {words}.*", GUIDE, flags=re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line.split("#")[0])
    }
    assert all(option in text for option in shown)


def test_every_example_shown_is_there() -> None:
    """And none is forgotten."""
    folder = ROOT / "compose" / "client" / "examples"
    assert set(re.findall(r"^\| `(\w+\.py)`", GUIDE, flags=re.MULTILINE)) == {path.name for path in folder.glob("*.py")}
