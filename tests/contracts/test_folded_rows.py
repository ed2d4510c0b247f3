"""How long feature rows wait to be folded: `FoldedRowsWriter` (streams/java) by a clock that the tests move."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.contracts.java_program import java_command

USER_RULES, ITEM_RULES = (0, 60_000, 10_000), (20, 60_000, 10_000)
"""As shipped: fresh rows wait, a row is old, old rows wait, in milliseconds."""
OLD, FRESH = 90_000, 5
"""Ages of a row's newest event, in milliseconds."""

Writes = Callable[..., list[str]]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Starts `WriteRows`, whose arguments are missing."""
    return java_command(tmp_path_factory.mktemp("java"), "WriteRows")


@pytest.fixture
def written(command: list[str]) -> Writes:
    """Runs a script of `WriteRows` under rules; returns what Kafka got, each with its time."""

    def run(rules: tuple[int, int, int], *script: str) -> list[str]:
        done = subprocess.run(
            [*command, *map(str, rules)], input="\n".join(script), capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    return run


def test_a_fresh_user_row_does_not_wait(written: Writes) -> None:
    """Each change goes out at once, equal keys too."""
    assert written(USER_RULES, f"write a 1 {FRESH}", f"write a 2 {FRESH}", "wait 7", f"write b 1 {FRESH}") == [
        "0 a 1",
        "0 a 2",
        "7 b 1",
    ]


def test_fresh_item_rows_are_folded_for_a_moment(written: Writes) -> None:
    """The newest of each key goes out when the time is over, though rows keep coming."""
    script = (f"write a 1 {FRESH}", "wait 15", f"write a 2 {FRESH}", f"write b 1 {FRESH}", "wait 4")
    assert written(ITEM_RULES, *script, f"write a 3 {FRESH}", "wait 1") == ["20 a 3", "20 b 1"]


def test_a_backlog_is_one_message_a_row(written: Writes) -> None:
    """While old rows keep coming each goes out once in ten seconds, those that waited longest first."""
    steps = [line for n in range(1200) for line in (f"write {'ab'[n % 2]} {n} {OLD}", "wait 10")]
    assert written(USER_RULES, *steps) == ["10000 a 998", "10010 b 1001"]


def test_the_end_of_a_backlog_is_noticed(written: Writes) -> None:
    """What waits goes out soon after the last old row, not after ten seconds."""
    lines = written(USER_RULES, f"write a 1 {OLD}", "wait 50", f"write b 1 {OLD}", "wait 9000")
    assert [line.split(" ", 1)[1] for line in lines] == ["a 1", "b 1"]
    assert {line.split(" ")[0] for line in lines} == {"160"}


def test_old_rows_do_not_end_waiting_by_fresh_ones(written: Writes) -> None:
    """Live rows around a late one are no backlog."""
    script = [line for _ in range(30) for line in (f"write live 1 {FRESH}", "wait 10")]
    assert written(USER_RULES, f"write late 1 {OLD}", *script).index("120 late 1")


def test_a_newer_row_replaces_the_one_that_waits(written: Writes) -> None:
    """Rows of a key never change places, whichever way each of them goes."""
    script = (f"write a 1 {OLD}", "wait 5", f"write a 2 {FRESH}", "wait 9000")
    assert written(USER_RULES, *script) == ["5 a 2"]
    assert written(ITEM_RULES, *script) == ["20 a 2"]
    assert written(ITEM_RULES, f"write a 1 {FRESH}", f"write a 2 {OLD}", "wait 9000") == ["120 a 2"]


def test_a_checkpoint_sends_what_waits(written: Writes) -> None:
    """Rows first, then Kafka's own flush, and nothing again later."""
    script = (f"write a 1 {OLD}", f"write b 1 {FRESH}", "flush", "wait 9000")
    assert written(ITEM_RULES, *script) == ["0 b 1", "0 a 1", "0 flushed"]


def test_old_rows_are_as_others_where_that_is_asked(written: Writes) -> None:
    """`streams.old_row_flush_ms: 0`."""
    script = (f"write a 1 {OLD}", f"write a 2 {OLD}", "wait 20")
    assert written((0, 60_000, 0), *script) == ["0 a 1", "0 a 2"]
    assert written((20, 60_000, 0), *script) == ["20 a 2"]
