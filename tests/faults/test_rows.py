"""The fault matrix names tests that exist, and the page says what the matrix says."""

from __future__ import annotations

import re

import pytest

from tests.faults.rows import PAGE, Row, missing_tests, page_with, read_rows
from tests.running_stack import ROOT

ROWS = read_rows()
PARTS = ["events", "Kafka", "Flink", "Redis", "trainer", "publishing", "server", "whole"]


def test_every_test_that_a_row_names_exists() -> None:
    """In its file, by its name."""
    assert missing_tests(ROWS) == []


def test_a_test_that_does_not_exist_is_noticed() -> None:
    """Neither a wrong name nor a wrong file passes."""
    named = [f"{__file__.removeprefix(f'{ROOT}/')}::test_nobody", "tests/nowhere.py::test_x"]
    row = Row(part="p", fault="f", expected="e", invariants=["I1"], tests=named, scale="s")
    assert missing_tests([row]) == sorted(named)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.part}: {row.fault}")
def test_every_row_is_held_or_says_what_is_open(row: Row) -> None:
    """By tests, with invariants of the list, at a stated scale."""
    assert row.tests or row.open
    assert row.scale or not row.tests
    assert all(re.fullmatch(r"I([1-9]|1[0-8])", name) for name in row.invariants)


def test_all_parts_of_the_matrix_have_rows() -> None:
    """In its order, each together."""
    assert list(dict.fromkeys(row.part for row in ROWS)) == PARTS
    assert len(ROWS) >= 55


def test_the_page_shows_the_rows_as_they_are() -> None:
    """`python -m tests.faults.rows` writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page_with(ROWS, page) == page
