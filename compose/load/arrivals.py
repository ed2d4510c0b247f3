"""When calls are due: moments that no answer can put off, so that a server that stalls is not asked less."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

Arrival = Literal["poisson", "constant"]


def arrivals(
    kind: Arrival, rate: float, seconds: float, seed: int = 0, part: int = 0, parts: int = 1
) -> Iterator[float]:
    """Yield the moments of one of `parts` processes, in seconds after the start, ascending.

    Together the parts make `rate` calls a second: every `parts`-th of an even stream, or Poisson streams of a part of
    the rate each, whose sum is a Poisson stream again.
    """
    if kind == "constant":
        return (number / rate for number in range(part, int(rate * seconds), parts))
    return _poisson(rate / parts, seconds, random.Random(f"{seed}:{part}"))


def _poisson(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    due_s = rng.expovariate(rate)
    while due_s < seconds:
        yield due_s
        due_s += rng.expovariate(rate)
