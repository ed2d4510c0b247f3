"""Which of many comparisons say more than chance does, at a level that holds for all of them together.

    t = (fall - margin) / error     Student's t; with two windows the degrees of freedom are Welch's (1947)
    Holm (1979)                     the smallest chance of m is held against level / m, the next against level / (m - 1)

The null hypothesis is that the fall is no larger than its margin, so a fall that is certain but small passes. Errors
come from the spread of blocks (`trainer.measures.judged_blocks`), and so do the degrees of freedom: few prove little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from scipy.special import stdtr


class Comparison(NamedTuple):
    """One measure held against what it must not fall below."""

    what: str
    """Measure, and what it is compared with: the beginning of a reason."""
    fall: float
    margin: float
    """What the fall may be."""
    error: float
    """Standard error of the fall."""
    freedom: float
    """Degrees of freedom of that error."""

    @property
    def chance(self) -> float:
        """How likely a fall like this is where the true one is no larger than the margin."""
        excess = self.fall - self.margin
        if excess <= 0 or self.error <= 0:
            return float(excess <= 0)
        return float(stdtr(self.freedom, -excess / self.error))


def faults_at(level: float, comparisons: Iterable[Comparison]) -> list[str]:
    """Return reasons: the comparisons that fail where, of all, one may fail by chance in `1 / level` looks."""
    ordered = sorted(comparisons, key=lambda one: one.chance)
    faults: list[str] = []
    for place, one in enumerate(ordered):
        bound = level / (len(ordered) - place)
        if one.chance > bound:
            break
        faults.append(
            f"{one.what}: a fall of {one.fall:.4f} with an error of {one.error:.4f}, the bound is {one.margin:.4f};"
            f" its chance is {one.chance:.1e}, below {bound:.1e}"
        )
    return faults


def freedom_of(*of: tuple[float, int]) -> float:
    """Return Welch's degrees of freedom of a difference, from the error of each side and the blocks behind it."""
    total = sum(error**2 for error, _ in of) ** 2
    parts = sum(error**4 / max(1, blocks - 1) for error, blocks in of)
    return total / parts if parts > 0 else float(min(blocks for _, blocks in of) - 1)
