"""Every command that the docs show is run by a test, as it stands there; what cannot be is named with the reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.main

from compose.cli import app
from features.quality.profile import HELD, QUALITY_TOPIC, Profile, encode_profile
from headrace_client import Event, EventProducer
from tests.compose.docs_desk import DocsDesk
from tests.compose.documented_commands import block_commands, mentioned_commands, read_table
from tests.compose.running_commands import held, sent_as
from tests.faults import rows
from tests.running_stack import RunningStack, wait_for
from tests.trainer.test_hold_log import write

TABLE = read_table()
COMMANDS = typer.main.get_command(app)
WINDOWS_MS = (1_767_614_580_000, 1_767_617_880_000)
"""2026-01-05T12:03:00Z and 12:58: held windows, as docs/quality.md decides on them."""


def test_every_command_shown_has_one_place_where_it_is_run() -> None:
    """A new one in the docs, or one of the table that no page shows any more, is told by name."""
    shown, places = block_commands(), Counter(TABLE.places())
    assert {command: page for command, page in shown.items() if command not in places} == {}
    assert [command for command in places if command not in shown] == []
    assert [command for command, count in places.items() if count > 1] == []
    assert len(shown) > 60  # A change of the fences must not make this hold nothing.


def test_the_tests_named_for_commands_exist() -> None:
    """And what is not run has its reason."""
    named = {place.partition("::")[::2] for place in TABLE.elsewhere.values()}
    assert [name for file, name in sorted(named) if name not in rows.tests_in(file)] == []
    assert all(len(reason.split()) > 3 for reason in TABLE.not_run.values())
    assert set(TABLE.exit_codes) <= set(TABLE.places())


@pytest.mark.parametrize("story", TABLE.alone, ids=lambda story: " ".join(story[0].split()[:3]))
def test_commands_that_need_no_stack_run_as_they_stand(story: list[str], tmp_path: Path) -> None:
    """In a folder with the files that the page speaks of, by a real shell."""
    desk = DocsDesk(tmp_path)
    for command in story:
        desk.types(TABLE, command)


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_commands_about_a_stack_run_as_they_stand(stack: RunningStack, tmp_path: Path) -> None:
    """On the shared stack, with a misspelt action and two held windows for those that are about them."""
    desk = DocsDesk(tmp_path, Path(stack.endpoints.state))
    for start_ms in WINDOWS_MS:
        profile = Profile(window_start_ms=start_ms, window_end_ms=start_ms + 60_000, state=HELD)
        write(stack.endpoints.kafka, QUALITY_TOPIC, encode_profile(profile))
    with EventProducer(stack.endpoints.kafka) as producer:
        producer.send(Event("docs-ada", "tea", "clck", event_id="docs-clck")).result(60)
    place = "docs-clck"
    wait_for(lambda: any(place in sent_as(one) for one in held(stack, "headrace.events.dlq.v1")), "the dead letter")
    told = {command: desk.types(TABLE, command) for command in TABLE.stack}
    assert "docs-clck" in {event.get("event_id") for event in held(stack, "headrace.events.v1")}
    assert told["headrace dashboard"].strip() == f"http://{stack.endpoints.dashboard}/"


@pytest.mark.parametrize("command", sorted(mentioned_commands()))
def test_every_command_in_the_text_names_a_verb_and_its_options(command: str) -> None:
    """`headrace models release VERSION` would be refused; what stands for a value is not looked at."""
    found: Any = COMMANDS
    words = command.replace("\\|", "|").split()[1:]
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    if words and "|" in words[0]:  # `quality list|release|drop`
        assert set(words.pop(0).split("|")) <= set(found.commands)
    words = [word.strip("[]") for word in words]
    context = found.context_class(found, info_name=command, resilient_parsing=True)
    _, left, _ = found.make_parser(context).parse_args(words)
    assert left == []
