"""A .proto file as Markdown: services, messages and enums with the comments that stand beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_BLOCK = re.compile(r"^(service|message|enum) (\w+) \{$")
_RPC = re.compile(r"^  rpc (\w+)\((\w+)\) returns \((\w+)\);(?:\s*// (.*))?$")
_FIELD = re.compile(
    r"^  (?P<type>(?:repeated |optional )?(?:map<[^>]+>|[\w.]+)) (?P<name>\w+) = (?P<number>\d+);"
    r"(?:\s*// (?P<what>.*))?$"
)
_VALUE = re.compile(r"^  (\w+) = (\d+);(?:\s*// (.*))?$")
_COMMENT = re.compile(r"^\s*// ?(.*)$")


def proto_page(text: str) -> str:
    """Return the blocks of a file as sections of the third level."""
    return "\n".join(_section(kind, name, above, lines) for kind, name, above, lines in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield kind, name, the comment above and the lines of every block."""
    above: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if match := _BLOCK.match(line):
            inner: list[str] = []
            while (inner_line := next(lines)) != "}":
                inner.append(inner_line)
            yield match[1], match[2], " ".join(above), inner
            above = []
        elif match := _COMMENT.match(line):
            above.append(match[1])
        else:
            above = []


def _section(kind: str, name: str, above: str, lines: list[str]) -> str:
    head = f"### {name}\n\n" + (f"{_escaped(above)}\n\n" if above else "")
    table = {"service": _methods, "message": _fields, "enum": _values}[kind](lines)
    return head + table + "\n"


def _methods(lines: list[str]) -> str:
    rows = ["| method | takes | returns | |", "|---|---|---|---|"]
    for above, line in _with_comments(lines):
        if match := _RPC.match(line):
            what = _escaped(match[4] or above)
            rows.append(f"| `{match[1]}` | `{match[2]}` | `{match[3]}` | {what} |")
    return "\n".join(rows) + "\n"


def _fields(lines: list[str]) -> str:
    rows = ["| field | type | number | |", "|---|---|---|---|"]
    for above, line in _with_comments(lines):
        if match := _FIELD.match(line):
            what = _escaped(match["what"] or above)
            rows.append(f"| `{match['name']}` | `{match['type']}` | {match['number']} | {what} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else "No fields.\n"


def _values(lines: list[str]) -> str:
    rows = ["| value | number | |", "|---|---|---|"]
    for above, line in _with_comments(lines):
        if match := _VALUE.match(line):
            rows.append(f"| `{match[1]}` | {match[2]} | {_escaped(match[3] or above)} |")
    return "\n".join(rows) + "\n"


def _with_comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield every line that is no comment, with the comment lines above it."""
    above: list[str] = []
    for line in lines:
        if match := _COMMENT.match(line):
            above.append(match[1])
        else:
            yield " ".join(above), line
            above = []


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
