"""Which arm a user is in: by a salted hash alone, so that restarts, workers and servers agree without talking.

Each arm draws an exponential waiting time from the hash of (salt, arm, user), divided by its share; the shortest wins
(weighted rendezvous hashing, Schindelhauer and Schomaker 2005, https://doi.org/10.1145/1073970.1074008). An arm wins as
often as its share says. When shares change only users whose winner changes move: exactly as few as must with two arms,
and with more at most 2 d / (1 + d) of all users where the shares differ by d (total variation), which no rule without
memory can beat (Angel and Spinka 2019, https://arxiv.org/abs/1903.00632).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

OUTSIDE = ""
"""Name of what is left of the users beside all arms."""

_UNIT = 2.0**-64


class Assignment:
    """The arms of one experiment with their shares.

    Args:
        salt: names the experiment, so that the arms of one say nothing of the arms of another.
        shares: arm -> part of all users; what is missing to 1 is outside.
    """

    def __init__(self, salt: str, shares: Mapping[str, float]) -> None:
        weights = dict(shares)
        outside = 1.0 - sum(shares.values())
        if outside > 1e-9:  # Shares such as .7 + .2 + .1 leave 1e-16.
            weights[OUTSIDE] = outside
        self._arms = [(name, weight, _hasher(salt, name)) for name, weight in weights.items()]

    def arm_of(self, user_id: str) -> str:
        """Return the name of the user's arm, `OUTSIDE` for none."""
        user = user_id.encode()
        best, shortest = OUTSIDE, math.inf
        for name, weight, hasher in self._arms:
            hashed = hasher.copy()
            hashed.update(user)
            draw = (int.from_bytes(hashed.digest(), "little") + 0.5) * _UNIT
            wait = -math.log(draw) / weight
            if wait < shortest:
                best, shortest = name, wait
        return best


def _hasher(salt: str, arm: str) -> hashlib.blake2b:
    """Return a hash of its own for a salt and an arm, which has read no user yet."""
    key = hashlib.blake2b(f"{salt}\0{arm}".encode(), digest_size=32).digest()
    return hashlib.blake2b(digest_size=8, key=key)
