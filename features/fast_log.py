"""The natural log of the numbers that lists are full of, a table and four terms in place of a call of the C library.

Letters: `K` centres.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled

_CENTRES = 128
_INVERSES: NDArray[np.float64] = 1.0 / (1.0 + (np.arange(_CENTRES) + 0.5) / _CENTRES)
"""(K,) of the middle of each piece of [1, 2)."""
_INVERSES[0] = 1.0  # So that the log of 1 is 0, as counts of nothing must be.
_LOGS: NDArray[np.float64] = -np.log(_INVERSES)
"""(K,)"""
_LOG_2 = math.log(2.0)
_FRACTION, _ONE = (1 << 52) - 1, 1023 << 52


@compiled
def fast_log(number: float) -> float:
    """Return the log of a number to 1e-11; it must be finite, and at least 2.3e-308.

    `x = 2^e m`, with `c` the centre next to `m`: `log x = e log 2 + log c + log(1 + r)`, where `r = m / c - 1` is
    small. Of any other number it returns some finite one: no place lies outside of the tables.
    """
    bits = np.float64(number).view(np.int64)
    place = (bits >> 45) & (_CENTRES - 1)
    rest = np.int64((bits & _FRACTION) | _ONE).view(np.float64) * _INVERSES[place] - 1.0
    of_rest = rest * (1.0 - rest * (0.5 - rest * (1.0 / 3.0 - rest * 0.25)))
    return float(((bits >> 52) - 1023) * _LOG_2 + (_LOGS[place] + of_rest))
