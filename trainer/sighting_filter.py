"""How often an id was seen of late, in bounded memory: what decides whether it is worth a row.

A count-min sketch (Cormode & Muthukrishnan 2005, https://doi.org/10.1016/j.jalgor.2003.12.001) with conservative
update. It never counts too few within a period, so nobody waits longer than the threshold says; it counts too many
where other ids share all cells of an id, which then gets its row early. All counts are halved after a fixed number of
sightings, as in TinyLFU (Einziger et al. 2017, https://doi.org/10.1145/3149371): rare ids are forgotten.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH = 1 << 18
"""Cells of each of the sketch's rows, one byte each."""
DEPTH = 4
PERIOD = WIDTH // 4
"""Sightings between two halvings: a cell then holds half a sighting of others in the mean, and at most about one id in
forty shares all four of its cells."""
MOST = 255
"""Highest count of a cell."""


class SightingFilter:
    """Counts of recent sightings by id.

    Args:
        seed: of the hash.
    """

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()
        self._counts = np.zeros((DEPTH, WIDTH), dtype=np.uint8)
        self._sightings = 0

    def count(self, id_: str) -> int:
        """Count one sighting; return how many there were of late, this one included."""
        self._sightings += 1
        if self._sightings % PERIOD == 0:
            self._counts >>= 1
        digest = hashlib.blake2b(id_.encode(), digest_size=4 * DEPTH, key=self._key).digest()
        columns = [int.from_bytes(digest[4 * row : 4 * row + 4], "little") % WIDTH for row in range(DEPTH)]
        known = [int(self._counts[row, column]) for row, column in enumerate(columns)]
        seen = min(min(known) + 1, MOST)
        for row, column in enumerate(columns):
            if known[row] < seen:
                self._counts[row, column] = seen
        return seen

    def distinct(self) -> int:
        """Estimate how many ids are remembered: linear counting (Whang et al. 1990) in the sketch's first row."""
        empty = WIDTH - int(np.count_nonzero(self._counts[0]))
        return round(WIDTH * math.log(WIDTH / max(empty, 1)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the state for a checkpoint."""
        return {"counts": self._counts.copy(), "sightings": np.array([self._sightings])}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self._counts = arrays["counts"].copy()
        self._sightings = int(arrays["sightings"][0])
