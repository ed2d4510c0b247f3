"""Jobs that run another configuration than the one on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from compose.changed_jobs import ConfiguredJobs, changed_jobs
from compose.cli import app
from compose.errors import StackError
from compose.job_control import KINDS
from compose.streams_upgrade import StreamsUpgrade
from features.config import Endpoints
from streams.exclusions import NOTHING_EXCLUDED, Exclusions, save_exclusions
from streams.flink_rest import FlinkRest
from streams.job_files import JobFiles
from tests.running_stack import ROOT


@pytest.fixture
def endpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoints:
    """A stack whose jobs were made from the shipped configuration; only what it left on disk is there."""
    endpoints = Endpoints(kafka="127.0.0.1:1", redis="", flink="127.0.0.1:2", model_store="", state=str(tmp_path))
    configured = ConfiguredJobs(ROOT / "headrace.yaml", endpoints)
    for kind in KINDS:
        plan = configured.job(kind).plan_name
        (JobFiles(tmp_path / "flink", f"{kind}_job").checkpoints(plan) / f"id-{kind}").mkdir(parents=True)
    running = {configured.job(kind).name: f"id-{kind}" for kind in KINDS}
    monkeypatch.setattr(FlinkRest, "live_jobs", lambda _self: running)
    return endpoints


def _changed(folder: Path, section: str, **values: object) -> Path:
    data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
    data[section] = {**data.get(section, {}), **values}
    path = folder / "headrace.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_each_job_is_judged_by_what_it_is_made_from(tmp_path: Path, endpoints: Endpoints) -> None:
    """A label changes the sample job alone, a history the feature job alone, an action both; a trainer's key none."""
    assert changed_jobs(ROOT / "headrace.yaml", endpoints) == []
    assert changed_jobs(_changed(tmp_path, "labels", window_s=30.0), endpoints) == ["sample"]
    assert changed_jobs(_changed(tmp_path, "features", history_length=7), endpoints) == ["feature"]
    action = {"cart": {"outcome": "positive", "reward": 3.0}}
    assert changed_jobs(_changed(tmp_path, "actions", **action), endpoints) == ["feature", "sample"]


def test_a_purged_window_is_no_other_configuration(tmp_path: Path, endpoints: Endpoints) -> None:
    """The feature job is built anew for it, and whoever reads the configuration need not start again."""
    save_exclusions(tmp_path, Exclusions([(10, 20)]))

    def upgrade(config: Path) -> StreamsUpgrade:
        return StreamsUpgrade(config, tmp_path / "endpoints.json", endpoints, print, NOTHING_EXCLUDED)

    assert changed_jobs(ROOT / "headrace.yaml", endpoints) == ["feature"]
    assert not upgrade(ROOT / "headrace.yaml").is_configured_anew()
    assert upgrade(_changed(tmp_path, "features", history_length=7)).is_configured_anew()


def test_a_letter_is_not_replayed_into_jobs_that_do_not_know_the_mend(tmp_path: Path, endpoints: Endpoints) -> None:
    """It would come back and be marked as replayed; the refusal names the command that comes first."""
    places = tmp_path / "endpoints.json"
    places.write_text(endpoints.model_dump_json(), encoding="utf-8")
    config = _changed(tmp_path, "actions", cart={"outcome": "positive", "reward": 3.0})
    options = ["dlq", "replay", "--config", str(config), "--endpoints", str(places)]
    done = CliRunner().invoke(app, options)
    assert isinstance(done.exception, StackError)
    assert "headrace streams upgrade" in str(done.exception)
    assert json.loads(places.read_text())["kafka"] not in str(done.exception)  # Kafka was not even asked.
