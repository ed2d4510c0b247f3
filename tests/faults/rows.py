"""The fault matrix as a table: which test holds which row. `python -m tests.faults.rows` writes it into the docs.

`python -m tests.faults.rows --tests` prints the tests, a node id each, for `make test-faults`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from functools import cache
from itertools import groupby
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from tests.running_stack import ROOT

ROWS = Path(__file__).with_name("rows.yaml")
PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- rows: begin -->\n", "<!-- rows: end -->"


class Row(BaseModel):
    """One thing that may go wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    part: str
    fault: str
    expected: str
    invariants: list[str]
    tests: list[str]
    """`FILE::TEST`."""
    scale: str
    open: str = ""
    """What of the row no test holds."""


def read_rows() -> list[Row]:
    """Return the rows in the order of the file."""
    return [Row(**row) for row in yaml.safe_load(ROWS.read_text(encoding="utf-8"))]


@cache
def tests_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file; none where it does not exist."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing_tests(rows: list[Row]) -> list[str]:
    """Return the tests that rows name and that do not exist."""
    named = {test for row in rows for test in row.tests}
    return sorted(test for test in named if test.partition("::")[2] not in tests_in(test.partition("::")[0]))


def as_markdown(rows: list[Row]) -> str:
    """Return the matrix as tables, one a part."""
    lines: list[str] = []
    for part, own in groupby(rows, key=lambda row: row.part):
        lines += [f"**{part[0].upper()}{part[1:]}**", "", "| fault | what holds | invariants | held by | here |"]
        lines += ["|---|---|---|---|---|", *map(_line, own), ""]
    return "\n".join(lines)


def _line(row: Row) -> str:
    held = ", ".join(f"`{test.partition('::')[2]}`" for test in row.tests) or "**nothing**"
    scale = ". ".join(filter(None, [row.scale, f"**Open:** {row.open}" if row.open else ""]))
    return f"| {row.fault} | {row.expected} | {', '.join(row.invariants)} | {held} | {scale} |"


def page_with(rows: list[Row], page: str) -> str:
    """Return the page with the tables in their place.

    Raises:
        ValueError: the page has no place for them.
    """
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE} lacks the lines {_BEGIN.strip()} and {_END}")
    return pattern.sub(lambda _: _BEGIN + as_markdown(rows) + _END, page)


def main() -> int:
    """Write the page, or print the tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", action="store_true", help="print the tests")
    options = parser.parse_args()
    rows = read_rows()
    if options.tests:
        print("\n".join(sorted({test for row in rows for test in row.tests})))
    else:
        PAGE.write_text(page_with(rows, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
