"""The weight that one user may teach in a window; past it, what the user does counts in every table, in no weights.

Detection can be tuned around, a bound on influence cannot: whoever pushes an item with one account moves the weights by
this much and no further (docs/quality.md). All or nothing, a sample at a time; the first of a window always fits.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEY_BYTES = 16
_LIMIT = 100_000
"""Users of a window remembered, 200 bytes each; the one who was asked about longest ago is forgotten first."""


class UserCap:
    """What every user has taught in the windows of late.

    Args:
        cap: weight a user and window; 0 is off.
        window_s: length of a window in seconds of stream time.
        history_after_ms: an event this much older than the broker's time of it came as history: its window is that of
            the event. Any other belongs to the broker's: nobody can spread a burst by dating events back.
        limit: users and windows remembered.
    """

    def __init__(self, cap: float, window_s: float, history_after_ms: int, limit: int = _LIMIT) -> None:
        self._cap = cap
        self._window_ms = max(1, round(1000 * window_s))
        self._history_after_ms = history_after_ms
        self._limit = limit
        self._spent: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spent)

    def admits(self, user_id: str, weight: float, event_time_ms: int, broker_time_ms: int) -> bool:
        """Say whether a user may teach this much more; where so, it is charged."""
        if not self._cap or not weight:
            return True
        is_live = 0 < broker_time_ms <= event_time_ms + self._history_after_ms
        key = self._key(user_id, (broker_time_ms if is_live else event_time_ms) // self._window_ms)
        spent = self._spent.get(key, 0.0)
        fits = not spent or spent + weight <= self._cap
        self._spent[key] = spent + weight if fits else spent
        self._spent.move_to_end(key)
        if len(self._spent) > self._limit:
            self._spent.popitem(last=False)
        return fits

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything: keys (n, 16), longest unused first, and what each has spent (n,)."""
        keys = np.frombuffer(b"".join(self._spent), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        return {"keys": keys, "spent": np.fromiter(self._spent.values(), dtype=np.float64, count=len(self._spent))}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        keys = (row.tobytes() for row in arrays["keys"])
        self._spent = OrderedDict(zip(keys, arrays["spent"].tolist(), strict=True))

    def _key(self, user_id: str, window: int) -> bytes:
        return hashlib.blake2b(f"{window}\x00{user_id}".encode(), digest_size=_KEY_BYTES).digest()
