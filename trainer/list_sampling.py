"""Which rows of a list that nobody was shown the ranker learns: what was chosen, its strongest rivals, a few others.

Of two hundred candidates most say nothing new. The strongest count as themselves; the others are drawn evenly from
their order in the list, and each counts for as many rows as it stands for, so that sums over the sample are sums over
the list in the mean, and chances stay calibrated.
Letters: `n` items of a list, `k` rows of it that are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled


@compiled
def sampled_rows(
    scores: NDArray[np.float32], target: int, strongest: int, drawn: int, offset: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows to learn and for how many each stands, (k,) and (k,), the target first.

    Systematic sampling: every other row has the same chance (Madow & Madow 1944,
    https://doi.org/10.1214/aoms/1177731312).

    Args:
        scores: (n,) of the ranker, before it learns the list.
        target: the row that was chosen.
        strongest: other rows of the highest scores that are kept; of equal scores the first.
        drawn: rows drawn of those that are left.
        offset: in [0, 1), where drawing begins.
    """
    size = len(scores)
    others = np.empty(size - 1, dtype=np.int64)
    others[:target], others[target:] = np.arange(target), np.arange(target + 1, size)
    if len(others) <= strongest + drawn:
        rows = np.concatenate((np.array([target]), others))
        return rows, np.ones(size, dtype=np.float32)
    bound = -np.inf
    if strongest == 0:
        bound = np.inf
    else:
        ranked = scores[others]
        bound = np.partition(ranked, len(ranked) - strongest)[len(ranked) - strongest]
    rows, copies = np.empty(1 + strongest + drawn, dtype=np.int64), np.ones(1 + strongest + drawn, dtype=np.float32)
    rows[0], used = target, 1
    equal = strongest - (scores[others] > bound).sum() if strongest else 0
    left = np.empty(len(others), dtype=np.int64)
    num_left = 0
    for row in others:
        is_equal = scores[row] == bound and equal > 0
        if scores[row] > bound or is_equal:
            rows[used] = row
            used += 1
            equal -= is_equal
        else:
            left[num_left] = row
            num_left += 1
    stride = num_left / drawn if drawn else 0.0
    for number in range(drawn):
        rows[used + number] = left[min(int((number + offset) * stride), num_left - 1)]
        copies[used + number] = stride
    return rows, copies
