"""Log lines: JSON where it is wanted, no secrets and no forged lines in either form."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from features.logs import JsonFormatter, TextFormatter, sanitised
from features.request_id import REQUEST_ID, new_request_id
from features.security.role import Role
from features.security.tokens import new_token


def record(message: str, **extra: str) -> logging.LogRecord:
    """Return what a logger hands to formatters."""
    made = logging.LogRecord("serving.x", logging.WARNING, "x.py", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_a_line_is_one_json_object_with_part_and_version() -> None:
    """What is not known is left out."""
    told = json.loads(JsonFormatter("serving").format(record("it failed", version="3.7")))
    del told["time"]
    assert told == {
        "level": "warning",
        "part": "serving",
        "logger": "serving.x",
        "message": "it failed",
        "version": "3.7",
    }


def test_a_line_of_a_request_has_its_id() -> None:
    """By it, a line is found from an answer and back."""
    token = REQUEST_ID.set(new_request_id())
    try:
        told = json.loads(JsonFormatter("serving").format(record("it failed")))
        assert told["request_id"] == REQUEST_ID.get()
    finally:
        REQUEST_ID.reset(token)


@pytest.mark.parametrize(
    "text",
    [
        f"token {new_token('ann', Role.ADMIN, 1)[0]}",
        "authorization: Bearer s3cr3t-s3cr3t",
        "redis://user:s3cr3t@host:6379/0",
        "https://:s3cr3t@host/",
        "sasl_plain_password='s3cr3t', x",
        "{'api_key': 's3cr3t'}",
        "secret=s3cr3t",
    ],
)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter("trainer")], ids=["text", "json"])
def test_no_secret_reaches_a_line(formatter: logging.Formatter, text: str) -> None:
    """Whoever reads logs learns no way in."""
    line = formatter.format(record(text))
    assert "***" in line
    assert "s3cr3t" not in line


@pytest.mark.parametrize("user_id", ["a\nINFO all is well", "a\r\x1b[2Jb", "a\u202eb", "a\x00b", "a\u2028b"])
def test_an_id_cannot_forge_a_line_nor_move_a_cursor(user_id: str) -> None:
    """Ids are strangers' text."""
    lines = TextFormatter().format(record(f"user {user_id}")).splitlines()
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_a_traceback_keeps_its_lines_and_loses_its_secrets() -> None:
    """Errors of clients like to quote how they connected."""
    try:
        raise ValueError("redis://user:s3cr3t@host")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    text = TextFormatter().format(failed)
    assert text.count("\n") > 2
    assert "s3cr3t" not in text + JsonFormatter("trainer").format(failed)


def test_a_long_text_is_cut() -> None:
    """A batch in an error must not fill a disk."""
    assert len(sanitised("x" * 1_000_000)) < 10_000
