"""Which ids were seen before, in bounded memory: a Bloom filter of two generations, in numpy.

    positions of a key    h1 + i * h2 modulo the bits, i = 0 .. 5          (Kirsch and Mitzenmacher 2006)
    error of a generation (1 - e^(-6/16))^6 = 0.09 % when it is full, at 16 bits a key

When the newer generation is full or old, it becomes the older one and an empty one takes its place. So the error stays
below 0.2 % at any traffic; what shrinks under load is how far the memory reaches, and `memory_ms` tells that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS_PER_KEY = 16
HASHES = 6


class SeenFilter:
    """Remembers 64-bit keys; a function of the keys and window ends it was given, in that order.

    Args:
        memory_mb: of both generations together.
        horizon_ms: a generation is retired at this age, however empty.
    """

    def __init__(self, memory_mb: float, horizon_ms: int) -> None:
        bits = 1 << int(np.log2(memory_mb * (1 << 20) / 2 * 8))
        self._mask = np.uint64(bits - 1)
        self._capacity = bits // BITS_PER_KEY
        self._horizon_ms = horizon_ms
        self._newer: NDArray[np.uint8] = np.zeros(bits // 8, dtype=np.uint8)
        self._older: NDArray[np.uint8] = np.zeros(bits // 8, dtype=np.uint8)
        self._count = 0
        self._newer_since_ms = self._older_since_ms = -1

    def memory_ms(self, now_ms: int) -> int:
        """Return how far back the memory reaches."""
        return 0 if self._older_since_ms < 0 else max(0, now_ms - self._older_since_ms)

    def contains(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say of each key (n,) whether it was added before; wrong "yes" for 0.2 % at most, never wrong "no"."""
        places, bits = self._places(keys)
        return _holds(self._newer, places, bits) | _holds(self._older, places, bits)

    def add(self, keys: NDArray[np.uint64], now_ms: int) -> None:
        """Remember distinct keys (n,) as of `now_ms`."""
        if self._newer_since_ms < 0:
            self._newer_since_ms = self._older_since_ms = now_ms
        if now_ms - self._newer_since_ms >= self._horizon_ms:
            self._retire(now_ms)
        while len(keys):
            if self._count >= self._capacity:
                self._retire(now_ms)
            part, keys = keys[: self._capacity - self._count], keys[self._capacity - self._count :]
            places, bits = self._places(part)
            is_new = ~_holds(self._newer, places, bits)
            np.bitwise_or.at(self._newer, places[is_new].ravel(), bits[is_new].ravel())
            self._count += int(is_new.sum())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the whole state."""
        numbers = np.array([self._count, self._newer_since_ms, self._older_since_ms], dtype=np.int64)
        return {"newer": self._newer.copy(), "older": self._older.copy(), "numbers": numbers}

    def fits(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Say whether these are the arrays of a filter of this size."""
        return all(arrays[name].shape == self._newer.shape for name in ("newer", "older"))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned, of a filter that `fits`."""
        self._newer, self._older = arrays["newer"].astype(np.uint8), arrays["older"].astype(np.uint8)
        self._count, self._newer_since_ms, self._older_since_ms = (int(number) for number in arrays["numbers"])

    def _retire(self, now_ms: int) -> None:
        self._older, self._newer = self._newer, np.zeros_like(self._newer)
        self._older_since_ms, self._newer_since_ms = self._newer_since_ms, now_ms
        self._count = 0

    def _places(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the byte and the bit in it of every hash, both (n, HASHES)."""
        first, second = keys, (keys >> np.uint64(32)) | np.uint64(1)
        hashes = (first[:, None] + second[:, None] * np.arange(HASHES, dtype=np.uint64)) & self._mask
        places = (hashes >> np.uint64(3)).astype(np.int64)
        return places, np.left_shift(1, (hashes & np.uint64(7)).astype(np.uint8)).astype(np.uint8)


def _holds(filled: NDArray[np.uint8], places: NDArray[np.int64], bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = ((filled[places] & bits) != 0).all(axis=1)
    return found
