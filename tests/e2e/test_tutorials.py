"""The tutorials' commands, as they stand there, on a real stack."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from features.config import Endpoints, load_endpoints
from headrace_client import Event, EventProducer
from tests.compose.documented_commands import FENCE
from tests.compose.running_commands import ENVIRONMENT, held, sent_as
from tests.dashboard.page_checks import DESKTOP, chromium, open_view
from tests.running_stack import ROOT, RunningStack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
TUTORIALS = ROOT / "docs" / "tutorials"


def commands_of(page: str, kind: str = "bash") -> list[str]:
    """The lines of the page's blocks of this kind, in order."""
    blocks = [text for found, text in FENCE.findall((TUTORIALS / page).read_text(encoding="utf-8")) if found == kind]
    return [line.split("   #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@dataclass
class Reader:
    """Somebody who types what the page says, in a folder of his own."""

    folder: Path

    def types(self, line: str, *more: str) -> str:
        """Run one line; it must end well."""
        words = [*shlex.split(line), *more]
        program = {"headrace": ["-m", "compose.cli"], "python": []}[words[0]]
        environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{ENVIRONMENT['PYTHONPATH']}"}
        done = subprocess.run(
            [sys.executable, *program, *words[1:]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout


def test_a_broken_producer_is_found_and_mended(stack: RunningStack, tmp_path: Path) -> None:
    """An app sends `purchas`; the page's commands name it, show it, mend it, and it counts once."""
    with EventProducer(stack.endpoints.kafka) as producer:
        sent = [Event(f"tutorial-{n}", "tea", "purchas", event_id=f"tutorial-letter-{n}") for n in range(3)]
        for future in [producer.send(event) for event in sent]:
            future.result(60)
    wait_for(
        lambda: sum("purchas" in sent_as(letter) for letter in held(stack, "headrace.events.dlq.v1")) >= 3 or None,
        "the dead letters",
    )
    reader, at = Reader(tmp_path), ["--endpoints", str(stack.local.endpoints_path)]
    configured = ["--config", str(stack.config_path)]
    told = ""
    for line in commands_of("broken-producer.md"):
        if line.startswith("headrace dlq replay"):
            told += reader.types(line, *at, *configured)
        elif line.startswith("headrace dlq"):
            told += reader.types(line, *at)
    assert "unknown_action" in told
    # Other tests write events here that have no action, or no id.
    mended = [event for event in held(stack, "headrace.events.v1") if event.get("action") == "purchase"]
    assert {f"tutorial-letter-{number}" for number in range(3)} <= {event.get("event_id") for event in mended}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, list[str], Path]]:
    """The reader of "your own data set", behind `headrace train`, with a stack where the page says `headrace up`."""
    folder = tmp_path_factory.mktemp("shop")
    actions = ["view", "view", "view", "add_to_cart", "purchase"]
    rows = [
        f"user-{n % 40},item-{n * 7 % 25},{actions[n % 5]},2026-11-{1 + n % 28:02d}T10:{n % 60:02d}:00"
        for n in range(800)
    ]
    (folder / "events.csv").write_text("user,product,event,time\n" + "\n".join(dict.fromkeys(rows)) + "\n")
    reader, lines = Reader(folder), commands_of("your-data.md")
    start = next(place for place, line in enumerate(lines) if line.startswith("headrace up"))
    for line in lines[:start]:
        reader.types(line)
    [end] = [line for line in lines if line.startswith("headrace down")]
    try:
        reader.types(lines[start], "--ports", "auto")  # The default ports may be in use, as on a developer's machine.
        yield reader, [line for line in lines[start + 1 :] if line != end], folder / "shop" / "state"
    finally:
        reader.types(end)


@pytest.mark.second_stack
def test_a_file_of_events_becomes_recommendations(shop: tuple[Reader, list[str], Path]) -> None:
    """From the page's first command to its last; the list is made by the model that learnt the file."""
    reader, lines, state = shop
    addresses = json.loads((state / "endpoints.json").read_text())
    for line in lines:
        if line.startswith("python"):
            told = reader.types(line, "--kafka", addresses["kafka"], "--serving", addresses["serving"])
            assert "Kafka has 3 items" in told
        else:
            reader.types(line)
    answer = json.loads(reader.types("headrace recommend user-1 --state shop/state --json"))
    assert len(answer["items"]) == 10
    assert answer["model_version"]


def first_of(reader: Reader) -> str:
    """The item that stands first in anybody's list."""
    answer = json.loads(reader.types("headrace recommend user-1 --state shop/state --json"))
    return str(answer["items"][0]["item_id"])


def roll_back_on_the_page(endpoints: Endpoints, state: Path, version: str) -> None:
    """Choose a version among the deltas and confirm."""
    with chromium() as browser:
        page = browser.new_context(viewport=DESKTOP).new_page()
        page.goto(f"http://{endpoints.dashboard}/#token={(state / 'admin.token').read_text()}")
        page.get_by_role("button", name="Sign out").wait_for(timeout=60_000)
        open_view(page, "versions")
        page.get_by_label("also the deltas between them").check()
        page.locator(".pick").filter(has_text=re.compile(rf"^{re.escape(version)}\D")).click(timeout=60_000)
        page.get_by_role("button", name=f"Roll back to {version}").click()
        page.locator("dialog").get_by_role("button", name="Roll back to").click()
        page.get_by_role("button", name="Follow again").wait_for(timeout=120_000)


@pytest.mark.second_stack
@pytest.mark.browser
@pytest.mark.timeout(2700)
def test_a_bad_model_is_rolled_back_and_its_data_taken_out(shop: tuple[Reader, list[str], Path]) -> None:
    """The bot's item leads every list, leaves it with the rollback, and stays away when the server follows again.

    Nothing that serves is restarted on the way: lists are there all the time.
    """
    reader, _, state = shop
    [program] = re.findall(r"```python\n(.*?)```", (TUTORIALS / "bad-model.md").read_text(), flags=re.DOTALL)
    (reader.folder / "junk.py").write_text(program)
    good = str(json.loads((state / "serving.json").read_text())["model_version"])
    began_ms = int(time.time() * 1000) - 1000
    lines = commands_of("bad-model.md")
    follow = next(place for place, line in enumerate(lines) if line.startswith("headrace unpin"))
    for line in lines[:follow]:
        reader.types(line)
    wait_for(lambda: first_of(reader) == "junk", "the bot's item in everybody's list")
    roll_back_on_the_page(load_endpoints(state / "endpoints.json"), state, good)
    assert first_of(reader) != "junk"
    window = f"--from {began_ms} --to {int(time.time() * 1000)}"
    purge = f"headrace purge {window} --config shop/headrace.yaml --state shop/state"
    assert "would purge" in reader.types(purge, "--dry-run")
    reader.types(purge, "--yes")
    assert sum(part["restarts"] for part in json.loads((state / "status.json").read_text())["parts"]) == 0
    for line in lines[follow:]:
        reader.types(line)
    answer = json.loads(reader.types("headrace recommend user-1 --state shop/state --json"))
    assert "junk" not in [item["item_id"] for item in answer["items"]]


@pytest.mark.second_stack
def test_an_experiment_is_run_and_read(tmp_path: Path) -> None:
    """The section as the page has it, the demo's visitors under it, and one table: every user is dealt to an arm."""
    page = (TUTORIALS / "ab-test.md").read_text(encoding="utf-8")
    [section] = [text for kind, text in FENCE.findall(page) if kind == "yaml"]
    config = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
    config["serving"] = {**(config.get("serving") or {}), **yaml.safe_load(section)["serving"]}
    (tmp_path / "ab.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    reader, (demo, read) = Reader(tmp_path), commands_of("ab-test.md", kind="")
    try:
        reader.types(demo)
        assert "experiment livelier" in reader.types(read)
        told = json.loads(reader.types(read, "--json"))
    finally:
        reader.types("headrace down --state .headrace/demo")
    assert [arm["arm"] for arm in told["arms"]] == ["champion", "drawn"]
    assert all(arm["requests"] > 0 and arm["users"] > 0 for arm in told["arms"])
