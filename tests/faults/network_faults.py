"""What a line between two parts may do to their bytes, and the words by which a proxy is told.

    pass                          bytes go through
    slow SECONDS [JITTER]         every piece is so late in either direction, up to JITTER more by chance
    bandwidth BYTES_PER_S         no more a second in either direction
    hole                          bytes go nowhere and connections are taken, as when a network drops packets; what came
                                  is kept, as TCP would send it again
    drop up|down                  the same in one direction: `up` is to the target, `down` from it
    cut                           connections are reset, new ones too
    stall                         new connections are taken and never answered; old ones are as they were
    slice BYTES                   pieces are no longer than this, and go out one by one
    corrupt BYTES                 one bit is flipped in every so many bytes, in either direction
    limit BYTES                   a connection ends after so many bytes of a direction
    slow_close SECONDS            the end of a connection is told so late

Every order takes the place of the one before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]
PIECE_BYTES = 64 * 1024
WORDS = (
    "pass, slow SECONDS [JITTER], bandwidth BYTES_PER_S, hole, drop up|down, cut, stall, slice BYTES, corrupt BYTES, "
    "limit BYTES, slow_close SECONDS, to HOST:PORT"
)


@dataclass(frozen=True)
class NetworkFault:
    """What is wrong with a line; by default nothing."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = math.inf
    blocked: frozenset[Direction] = frozenset()
    is_cut: bool = False
    is_stalling: bool = False
    slice_bytes: int = PIECE_BYTES
    flip_every_bytes: int = 0
    """0: none."""
    limit_bytes: float = math.inf
    close_delay_s: float = 0.0


def fault_of(words: list[str]) -> NetworkFault:
    """Return the fault that an order names.

    Raises:
        ValueError: it names none, or a number of it is no positive one.
    """
    match words:
        case ["pass"]:
            return NetworkFault()
        case ["slow", seconds]:
            return NetworkFault(delay_s=_positive(seconds))
        case ["slow", seconds, jitter]:
            return NetworkFault(delay_s=_positive(seconds), jitter_s=_positive(jitter))
        case ["bandwidth", rate]:
            return NetworkFault(bytes_per_s=_positive(rate), slice_bytes=max(1, int(_positive(rate) / 20)))
        case ["hole"]:
            return NetworkFault(blocked=frozenset({"up", "down"}))
        case ["drop", "up" | "down" as direction]:
            return NetworkFault(blocked=frozenset({direction}))
        case ["cut"]:
            return NetworkFault(is_cut=True)
        case ["stall"]:
            return NetworkFault(is_stalling=True)
        case ["slice", size]:
            return NetworkFault(slice_bytes=int(_positive(size)))
        case ["corrupt", size]:
            return NetworkFault(flip_every_bytes=int(_positive(size)))
        case ["limit", size]:
            return NetworkFault(limit_bytes=_positive(size))
        case ["slow_close", seconds]:
            return NetworkFault(close_delay_s=_positive(seconds))
    raise ValueError(f"{words} is none of: {WORDS}")


def _positive(text: str) -> float:
    number = float(text)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{text} must be a number above 0")
    return number


def flipped(piece: bytes, start: int, every: int) -> bytes:
    """Flip a bit in each byte whose place in the stream is a multiple of `every`; `start` is the place of the first."""
    spoilt = bytearray(piece)
    for place in range(-start % every, len(piece), every):
        spoilt[place] ^= 1 << (start + place) // every % 8
    return bytes(spoilt)
