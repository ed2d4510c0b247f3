"""Buckets of quotas that all workers of a server share: one mapped file, locked a few hundred bytes at a time.

A key belongs to a set of slots; a full set forgets the one least lately seen. The lock is the kernel's (`fcntl`), so it
ends with a worker that is killed while it holds it; what such a worker left half written is taken for a full bucket.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.quota import Bucket

_SETS, _SLOTS = 2048, 8
_SLOT = struct.Struct("<16sdd")
"""Key, requests left, monotonic seconds."""
_SET_BYTES = _SLOTS * _SLOT.size
_EMPTY = bytes(16)


class SharedBuckets:
    """Buckets in a file; every process opens it by itself.

    Args:
        path: of the file; made by whoever comes first, readable by the owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, _SETS * _SET_BYTES)
        self._slots = mmap.mmap(self._file, _SETS * _SET_BYTES)

    def close(self) -> None:
        """Let go of the file."""
        self._slots.close()
        os.close(self._file)

    @contextmanager
    def hold(self, key: bytes) -> Iterator[None]:
        """Keep the set of a bucket from changing by other processes."""
        begin = _begin_of(key)
        fcntl.lockf(self._file, fcntl.LOCK_EX, _SET_BYTES, begin)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _SET_BYTES, begin)

    def read(self, key: bytes) -> Bucket | None:
        """Return a bucket, None where it is not known, was forgotten or is no bucket."""
        for _, known, bucket in self._set_of(key):
            if known == key:
                return bucket if math.isfinite(bucket.left) and math.isfinite(bucket.seen_s) else None
        return None

    def write(self, key: bytes, bucket: Bucket) -> None:
        """Write into the slot of the key, else into an empty one, else into that least lately seen."""
        slots = list(self._set_of(key))
        place = min(slots, key=lambda slot: (slot[1] != key, slot[1] != _EMPTY, slot[2].seen_s))[0]
        _SLOT.pack_into(self._slots, place, key, bucket.left, bucket.seen_s)

    def _set_of(self, key: bytes) -> Iterator[tuple[int, bytes, Bucket]]:
        """Yield place, key and content of each slot that the key may have."""
        begin = _begin_of(key)
        for place in range(begin, begin + _SET_BYTES, _SLOT.size):
            known, left, seen_s = _SLOT.unpack_from(self._slots, place)
            yield place, known, Bucket(left, seen_s)


def _begin_of(key: bytes) -> int:
    return int.from_bytes(key[:4], "little") % _SETS * _SET_BYTES
