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
    keys = np.empty(len(scores), dtype=np.int64)
    for place in range(len(scores)):
        keys[place] = sort_key(scores[place], place)
    if 0 < size < len(keys):
        keys = np.partition(keys, size - 1)[:size]
    keys = np.sort(keys)[:size]
    for rank in range(len(keys)):
        keys[rank] &= PLACES
    return keys
