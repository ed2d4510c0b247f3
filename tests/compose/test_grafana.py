"""Dashboards, alert rules and run book: they load in the real Prometheus' tool, and ask for what the parts tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from features.metrics_config import PARTS
from tests.metrics_page import listed, series_of

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "compose" / "grafana"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((GRAFANA / "headrace.rules.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool of Prometheus")


def promtool(*arguments: str, cwd: Path = GRAFANA) -> str:
    """Return why promtool refuses; empty where it does not."""
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def panels_of(path: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard."""
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return panels


def queries_of(path: Path) -> list[str]:
    """Return every query of a dashboard."""
    return [target["expr"] for panel in panels_of(path) for target in panel["targets"]]


QUERIES = [(path.name, query) for path in DASHBOARDS for query in queries_of(path)]
QUERIES += [(rule["alert"], rule["expr"]) for rule in RULES]


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "headrace.rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "headrace.rules.test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_our_files(arguments: tuple[str, ...]) -> None:
    """Rules, configuration and the rules' unit tests pass the tool that Prometheus ships."""
    assert promtool(*arguments) == ""


@needs_promtool
def test_dashboards_ask_valid_queries(tmp_path: Path) -> None:
    """Every query of a dashboard parses, as a recording rule of its own."""
    rules = [{"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(QUERIES)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert promtool("check", "rules", "--lint=none", str(path)) == ""


@needs_promtool
def test_a_weaker_rule_fails_its_unit_test(tmp_path: Path) -> None:
    """The rules' own tests can fail: a bound that is ten times as high is noticed."""
    rules = (GRAFANA / "headrace.rules.yml").read_text()
    weaker = rules.replace(
        "headrace_trainer_checkpoint_age_seconds > 600", "headrace_trainer_checkpoint_age_seconds > 6000"
    )
    assert weaker != rules
    (tmp_path / "headrace.rules.yml").write_text(weaker)
    shutil.copy(GRAFANA / "headrace.rules.test.yml", tmp_path)
    assert "HeadraceTrainerCheckpointOld" in promtool("test", "rules", "headrace.rules.test.yml", cwd=tmp_path)


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_every_series_of_a_query_is_one_that_a_part_tells(where: str, query: str) -> None:
    """A renamed metric must not leave an alert that can never fire."""
    asked = set(re.findall(r"headrace_[a-z_]+", query))
    assert asked - series_of(listed()) == set(), where


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Summary, description and a section of the run book; and a severity that somebody can route."""
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = {title.lower() for title in re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)}
    assert (anchor, rule["labels"]["severity"] in ("page", "ticket")) == (rule["alert"].lower(), True)
    assert anchor in sections
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}


def test_every_alert_has_a_unit_test() -> None:
    """An alert that was never seen firing is none."""
    tests = (GRAFANA / "headrace.rules.test.yml").read_text()
    assert [rule["alert"] for rule in RULES if f"name: {rule['alert']}" not in tests] == []


def test_run_book_has_no_section_without_an_alert() -> None:
    """A section of an alert that is gone misleads."""
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_laid_out(path: Path) -> None:
    """Ids are unique, no two panels overlap, and all fit the grid of 24 columns."""
    places = [
        (column, line)
        for panel in panels_of(path)
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    ids = [panel["id"] for panel in panels_of(path)]
    assert (len(set(ids)), len(set(places))) == (len(ids), len(places))
    assert max(column for column, _ in places) < 24
    assert json.loads(path.read_text())["uid"] == path.stem


def test_prometheus_scrapes_every_part() -> None:
    """A part that nobody scrapes has no alerts."""
    jobs = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {f"headrace-{part}" for part in PARTS}
