"""The whole `headrace.yaml` is checked before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compose.config import StackConfig, load_headrace_config
from features.config import ConfigError
from tests.compose.small_stack import ROOT

HEAVY = ("torch", "feast", "pyflink", "pandas")


def yaml_with(folder: Path, section: str) -> Path:
    """Write the shipped configuration with another section added."""
    path = folder / "headrace.yaml"
    path.write_text((ROOT / "headrace.yaml").read_text() + "\n" + section + "\n")
    return path


def test_shipped_file_is_valid() -> None:
    """What we ship passes every section's check."""
    assert load_headrace_config(ROOT / "headrace.yaml").app.name == "headrace"


def test_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    """A typing mistake is answered with the key that was meant."""
    with pytest.raises(ConfigError, match=r"stack: unknown key 'kafka_heap'.*did you mean 'kafka_heap_mb'"):
        load_headrace_config(yaml_with(tmp_path, "stack: {kafka_heap: 512}"))


def test_jobs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Parallelism and slots stand in two sections and must agree."""
    section = "stack: {task_slots: 3}\nstreams: {parallelism: 2}"
    with pytest.raises(ConfigError, match=r"task_slots is 3, but streams\.parallelism 2 takes 4"):
        load_headrace_config(yaml_with(tmp_path, section))


def test_environment_overrides_the_stack_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """`HEADRACE_STACK_<FIELD>` comes before the file."""
    monkeypatch.setenv("HEADRACE_STACK_KAFKA_HEAP_MB", "300")
    assert load_headrace_config(ROOT / "headrace.yaml").stack.kafka_heap_mb == 300


def test_standby_taskmanager_is_the_default() -> None:
    """One TaskManager alone costs 42 s of silence when it is killed."""
    assert StackConfig().taskmanagers == 2


@pytest.mark.parametrize("module", ["compose.cli", "compose.config", "compose.local_stack", "serving.workers.parent"])
def test_heavy_libraries_stay_out_of_what_holds_no_model(module: str) -> None:
    """Neither the command line nor the supervisor loads torch, feast or pyflink, nor does the parent of workers."""
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
