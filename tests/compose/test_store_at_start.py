"""A model store that cannot be opened ends trainer and server at once, with one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_stack import ROOT

CASES = {
    "{uri: 's3://models', access_key_env: NO_SUCH_KEY, secret_key_env: NO_SUCH_SECRET}": (
        "model_store.access_key_env names a variable NO_SUCH_KEY that is not set; export it"
    ),
    "{uri: 'gs://models'}": "model_store: uri: 'gs://models' is of a kind that is not known",
}


@pytest.mark.parametrize("command", [["trainer"], ["serving"], ["serving", "--workers", "2"]], ids=" ".join)
@pytest.mark.parametrize("section", CASES, ids=["variable", "kind"])
def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path: Path, command: list[str], section: str) -> None:
    """Exit code 2, value and mend on stderr, and no traceback."""
    config, endpoints = tmp_path / "headrace.yaml", tmp_path / "endpoints.json"
    config.write_text(f"actions: {{like: {{outcome: positive}}}}\nmodel_store: {section}\n", encoding="utf-8")
    dead = {"kafka": "127.0.0.1:1", "redis": "127.0.0.1:1", "model_store": "", "state": str(tmp_path / "state")}
    endpoints.write_text(json.dumps(dead), encoding="utf-8")
    arguments = [sys.executable, "-m", *command, "--config", str(config), "--endpoints", str(endpoints)]
    ended = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, CASES[section] in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
