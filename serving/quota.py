"""How many requests a token may make: a bucket each, filled at an even rate, in this process or shared by several."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

_TOKENS_REMEMBERED = 10_000


class Bucket(NamedTuple):
    """What a token had, and when."""

    left: float
    """Requests."""
    seen_s: float
    """Monotonic seconds."""


class Buckets(Protocol):
    """Where buckets are kept, by the hash of their token."""

    def hold(self, key: bytes) -> AbstractContextManager[object]:
        """Keep a bucket from changing between a read and a write."""

    def read(self, key: bytes) -> Bucket | None:
        """Return a bucket, None where it is not known or was forgotten."""

    def write(self, key: bytes, bucket: Bucket) -> None:
        """Keep a bucket; another one may be forgotten for it."""


class LocalBuckets:
    """Buckets of this process; the least lately seen is forgotten first."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()

    def hold(self, key: bytes) -> AbstractContextManager[object]:
        """Do nothing: requests are let in on one thread."""
        return nullcontext()

    def read(self, key: bytes) -> Bucket | None:
        """Return a bucket, None where it is not known or was forgotten."""
        return self._buckets.get(key)

    def write(self, key: bytes, bucket: Bucket) -> None:
        """Keep a bucket; another one may be forgotten for it."""
        self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        if len(self._buckets) > _TOKENS_REMEMBERED:
            self._buckets.popitem(last=False)


class Quota:
    """A bucket of requests for every token.

    Args:
        per_s: requests a second; 0 is no quota.
        burst_s: seconds of it that may be used at once.
        buckets: where they are kept.
        clock_s: tells the monotonic time, the same to all who share the buckets.
    """

    def __init__(
        self,
        per_s: float,
        burst_s: float,
        buckets: Buckets | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s = per_s
        self._size = max(1.0, per_s * burst_s)
        self._buckets = buckets or LocalBuckets()
        self._clock_s = clock_s

    def take(self, token: str) -> float:
        """Take one request of a token; return 0, or the seconds until there is one."""
        if not self._per_s:
            return 0.0
        key = hashlib.sha256(token.encode()).digest()[:16]
        with self._buckets.hold(key):
            now_s = self._clock_s()
            left = self._left(self._buckets.read(key), now_s)
            wait_s = 0.0 if left >= 1.0 else (1.0 - left) / self._per_s
            self._buckets.write(key, Bucket(left if wait_s else left - 1.0, now_s))
        return wait_s

    def _left(self, bucket: Bucket | None, now_s: float) -> float:
        if bucket is None:
            return self._size
        return min(self._size, bucket.left + (now_s - bucket.seen_s) * self._per_s)
