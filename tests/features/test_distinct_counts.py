"""Distinct counts are near the truth, whatever the order and however often."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from features.distinct_counts import SIZE, add_text, estimate


def registers_of(texts: Iterable[str]) -> bytearray:
    """Take texts into fresh registers."""
    registers = bytearray(SIZE)
    for text in texts:
        add_text(registers, text)
    return registers


@pytest.mark.parametrize(
    ("count", "error"), [(0, 0.0), (1, 0.01), (10, 0.11), (100, 0.1), (1_000, 0.14), (100_000, 0.14)]
)
@pytest.mark.parametrize("prefix", ["i", "user-", "ü"])
def test_the_error_is_within_three_standard_errors(count: int, error: float, prefix: str) -> None:
    """One text in ten may share a register where few, 4.6 % is a standard error where many."""
    assert estimate(registers_of(f"{prefix}{number}" for number in range(count))) == pytest.approx(count, rel=error)


def test_neither_order_nor_repetition_matters() -> None:
    """Registers hold maxima."""
    texts = [f"i{number}" for number in range(3_000)]
    again = random.Random(1).choices(texts, k=3_000) + texts[::-1]
    assert registers_of(again) == registers_of(texts)


def test_similar_texts_are_told_apart() -> None:
    """The hash spreads even single letters and empty texts."""
    assert estimate(registers_of(["", "a", "b", "ab", "ba", "\0"])) == pytest.approx(6, rel=0.02)
