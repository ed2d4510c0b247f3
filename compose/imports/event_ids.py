"""Ids for events that have none: the same content gets the same id, so that what is sent twice counts once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from headrace_client import Event

_PREFIX_BYTES = 8


class ContentIds:
    """Gives every event without an id one that is made of its content.

    The same row gets the same id wherever it stands and in whichever file: overlapping exports count once. Rows of one
    file that say the same are events of their own; the n-th of them in the file has the number n in its id.

    Args:
        salt: another text makes other ids.
        repeated: what `repeated_contents` found in the file.
    """

    def __init__(self, salt: str, repeated: Collection[int]) -> None:
        self._salt = salt
        self._repeated = repeated
        self._copies: dict[bytes, int] = {}

    def identify(self, event: Event) -> Event:
        """Return the event with an id; call it once for every event of the file, in its order."""
        if event.event_id:
            return event
        content = content_of(event, self._salt)
        copy = 0
        if prefix_of(content) in self._repeated:
            copy = self._copies.get(content, 0)
            self._copies[content] = copy + 1
        named = content if copy == 0 else sha256(content + copy.to_bytes(8)).digest()
        return replace(event, event_id=named.hex()[:32])


def content_of(event: Event, salt: str) -> bytes:
    """Return 32 bytes that stand for what makes an event the same event."""
    parts = (salt, event.user_id, event.item_id, event.action, str(event.event_time_ms), repr(event.value))
    return sha256("\n".join(parts).encode()).digest()


def prefix_of(content: bytes) -> int:
    """Return the part of a content that is kept of every event of a file: 8 bytes."""
    return int.from_bytes(content[:_PREFIX_BYTES], "little")


def repeated_contents(prefixes: npt.NDArray[np.uint64]) -> frozenset[int]:
    """Return the prefixes that occur more than once; sorts `prefixes` in place.

    Contents that share a prefix by chance are only looked at twice: `ContentIds` tells them apart.
    """
    prefixes.sort()
    return frozenset(prefixes[1:][prefixes[1:] == prefixes[:-1]].tolist())
