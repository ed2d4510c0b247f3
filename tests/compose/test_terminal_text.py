"""What strangers wrote cannot steer our terminal."""

from __future__ import annotations

import pytest

from compose.terminal_text import shown, shown_bytes, utc


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"plain text", "plain text"),
        ("Grüße, 茶 🍵".encode(), "Grüße, 茶 🍵"),
        (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        (b"a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\x9b31m".encode(), "\\x9b31m"),
        ("\u202etxt.exe\u2028".encode(), "\\u202etxt.exe\\u2028"),
        (b"\xff\xfe{", "\\xff\\xfe{"),
    ],
)
def test_only_printable_characters_are_left(raw: bytes, expected: str) -> None:
    """Control sequences, line breaks, turned writing and broken UTF-8 are written out."""
    assert shown_bytes(raw) == expected


def test_what_is_kept_is_kept() -> None:
    """Line breaks where they are wanted."""
    assert shown("a\nb\x07", kept="\n") == "a\nb\\x07"


def test_times_are_read_by_people() -> None:
    """Also those that no calendar has."""
    assert utc(1_706_700_000_123) == "2024-01-31 11:20:00 UTC"
    assert utc(10**18) == f"{10**18} ms"
    assert utc(None) == "never"
