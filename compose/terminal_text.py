"""Text of strangers on our terminal: nothing in it may move the cursor, change colours or hide what follows."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control and format characters (also those that turn the direction of writing), and what is no character."""


def shown(text: str, kept: str = "") -> str:
    """Return text with everything that a terminal would obey written out as an escape, but for `kept`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _HARMFUL else _escaped(letter)
        for letter in text
    )


def shown_bytes(raw: bytes, kept: str = "") -> str:
    r"""Return bytes as text; what is not UTF-8 is written as \xNN."""
    return shown(raw.decode("utf-8", errors="backslashreplace"), kept)


def utc(time_ms: int | None) -> str:
    """Return milliseconds since 1970 as people read them."""
    if time_ms is None:
        return "never"
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
