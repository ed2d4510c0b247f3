"""Dead letters are counted by reason and topic, and shown without harm."""

from __future__ import annotations

import io
import json

import pytest

from compose.dlq_view import count_letters, newest_letters, print_counts, print_letters, write_raw
from headrace_client import HISTORY_TOPIC
from tests.compose.dead_letters import NOW_MS, letter

HARMFUL = letter(b"\x1b[2J{\xff}", "not_json")


class Terminal(io.BytesIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_letters_are_counted_by_reason_and_topic() -> None:
    """With the newest time, and how many were replayed."""
    letters = [letter(), letter(offset=8), letter(topic=HISTORY_TOPIC), HARMFUL]
    first, *others = count_letters(letters, {letter().letter_id: 5})
    assert (first.reason, first.count, first.replayed, first.newest_time_ms) == ("unknown_action", 2, 1, NOW_MS)
    assert [(count.reason, count.topic) for count in others] == [
        ("not_json", "headrace.events.v1"),
        ("unknown_action", HISTORY_TOPIC),
    ]


def test_the_table_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Each number under its name."""
    print_counts(count_letters([letter(), HARMFUL], {}), as_json=False)
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["reason", "topic", "count", "replayed", "newest"]
    assert first.index("headrace.") == second.index("headrace.") == header.index("topic")


def test_a_letter_is_shown_with_its_place_and_without_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are written out."""
    print_letters([HARMFUL], {HARMFUL.letter_id: 0}, as_json=False)
    out = capsys.readouterr().out
    assert "headrace.events.v1:2:7  not_json  2027-01-15 08:00:00 UTC  replayed 1970" in out
    assert "  \\x1b[2J{\\xff}\n" in out
    assert "\x1b" not in out


def test_json_carries_the_bytes_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    """In base64 beside the text."""
    print_letters([HARMFUL], {}, as_json=True)
    [data] = json.loads(capsys.readouterr().out)
    assert (data["raw"], data["replayed_time_ms"]) == ("G1sySnv/fQ==", None)


def test_raw_bytes_reach_a_file_but_not_a_terminal() -> None:
    """A pipe gets what was sent."""
    file, terminal = io.BytesIO(), Terminal()
    write_raw([HARMFUL], file)
    write_raw([HARMFUL], terminal)
    assert file.getvalue() == HARMFUL.raw + b"\n"
    assert terminal.getvalue() == b"\\x1b[2J{\\xff}\n"


def test_the_newest_come_first() -> None:
    """As many as asked for."""
    letters = [letter(offset=number) for number in range(9)]
    assert newest_letters(letters, 2) == [letters[8], letters[7]]
