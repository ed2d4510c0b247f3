"""The largest of many scores, by sorting one integer a score: what it is worth above, its place below.

A stable sort of places by their scores looks each score up again and again; a key holds both.
Letters: `n` scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

_PLACE_BITS = 31
PLACES = (1 << _PLACE_BITS) - 1
"""What of a key is the place."""
_LARGEST = (1 << 31) - 1
_BINS = 1024


@compiled
def sort_key(score: float, place: int) -> int:
    """Return what is the smaller the larger a score is, and of equal scores the smaller its place (below 2^31).

    A score counts as a float32. The bits of those rise with them; below 0 they fall, and are turned around.
    """
    bits = np.int64(np.float32(np.float32(score) + np.float32(0.0)).view(np.int32))  # -0 is 0.
    if bits < 0:
        bits ^= _LARGEST
    return int(((_LARGEST - bits) << _PLACE_BITS) | place)


@compiled
def top_places(scores: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the places of the `size` largest scores, largest first, equal ones in their order."""
    keys = _large_keys(scores, size)
    if 0 < size < len(keys):
        keys = np.partition(keys, size - 1)[:size]
    keys = np.sort(keys)[:size]
    for rank in range(len(keys)):
        keys[rank] &= PLACES
    return keys


@compiled
def _large_keys(scores: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    """Return the keys of the `size` largest scores and of few others: a histogram tells from which bin on to look."""
    least, greatest, unsound = np.inf, -np.inf, 0.0
    for score in scores:
        least, greatest = min(least, score), max(greatest, score)
        unsound += score * 0.0  # Becomes NaN by any number that has no bin.
    last_bin, per_bin = _BINS, 0.0
    if 0 < size < len(scores) and unsound == 0.0 and least < greatest:
        per_bin = (_BINS - 1) / float(np.float64(greatest) - least)
        last_bin = _bin_of(scores, greatest, per_bin, size)
    keys, found = np.empty(len(scores), dtype=np.int64), 0
    for place in range(len(scores)):
        if last_bin == _BINS or int((greatest - np.float64(scores[place])) * per_bin) <= last_bin:
            keys[found] = sort_key(scores[place], place)
            found += 1
    return keys[:found]


@compiled
def _bin_of(scores: NDArray[np.float32], greatest: float, per_bin: float, size: int) -> int:
    """Return the bin of the `size`-th largest score, the greatest in bin 0."""
    bins, seen = np.zeros(_BINS, dtype=np.int32), 0
    for score in scores:
        bins[int((greatest - np.float64(score)) * per_bin)] += 1
    for one in range(_BINS):
        seen += bins[one]
        if seen >= size:
            return one
    return _BINS
