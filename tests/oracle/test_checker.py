"""What the oracle takes for equal."""

from __future__ import annotations

import pytest

from tests.oracle.checker import Findings, is_same, is_same_category


@pytest.mark.parametrize(
    ("expected", "found", "verdict"),
    [
        (3, 3.0, True),
        (3, 3.0000000001, False),
        (3.0, 3.0000000001, True),
        (3.0, 3.0001, False),
        ([1, 2.5], [1.0, 2.5], True),
        ([1, 2.5], [1.0], False),
        (["a"], ["b"], False),
        ([], None, False),
        (0, None, False),
    ],
)
def test_counts_are_exact_and_sums_to_nine_digits(expected: object, found: object, verdict: bool) -> None:
    """`int` says that a number must be met exactly."""
    assert is_same(expected, found) is verdict


def test_a_category_may_keep_the_rounding_of_what_left_it() -> None:
    """Relative to its largest sum, not to the zero that should be there."""
    assert is_same_category([5, 1e6, 0, 1e6, 0, 0, 0], [5.0, 1e6, -1e-9, 1e6, 0.0, 0.0, 0.0])
    assert not is_same_category([5, 1e6, 0, 1e6, 0, 0, 0], [5.0, 1e6, 1.0, 1e6, 0.0, 0.0, 0.0])


def test_a_difference_is_told_with_its_place() -> None:
    """One line that names the field, and where two lists part."""
    findings = Findings()
    findings.equal("row field", [1, 2, 3], [1, 5, 3])
    assert findings.differences == ["row field: 3 expected, 3 found, at 1 expected 2, found 5"]
    assert not findings.is_equal
