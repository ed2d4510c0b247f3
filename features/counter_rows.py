"""Forward-decayed counters as arrays: the flat row that travels, and a table of many rows read as of now.

Letters: `N` rows, `H` half-lives, `K` = 3 kinds (events, positives, negatives).
Source: Cormode et al. 2009, "Forward Decay: A Practical Time Decay Model for Streaming Systems".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.compiled import compiled
from features.config import EPOCH_HALF_LIVES, NEGATIVE, POSITIVE

KINDS = ("events", "positives", "negatives")
NUMBERS_PER_HALF_LIFE = 1 + 2 * len(KINDS)
"""Newest epoch, its three sums, and the three sums of the epoch before."""

_KINDS_OF = {
    outcome: np.array([1.0, float(outcome == POSITIVE), float(outcome == NEGATIVE)])
    for outcome in (0, POSITIVE, NEGATIVE)
}

_OUTCOMES = np.array([_KINDS_OF[outcome] for outcome in (-1, 0, 1)])
"""What an event adds, by its outcome + 1."""

_REBASE_HALF_LIVES = 200.0
"""Sums are re-scaled to a later reference before they grow past 2^200: far from the double's 2^1023."""

_MAX_EXPONENT = 500.0
"""A clock far behind a landmark must not overflow; 2^500 is "now or later" for every use."""


def event_kinds(outcome: int) -> NDArray[np.float64]:
    """Return what one event adds to (events, positives, negatives), shape (3,); not to be changed."""
    return _KINDS_OF.get(outcome, _KINDS_OF[0])


def decay_rows(parts: NDArray[np.float64], half_lives_s: ArrayLike, time_ms: ArrayLike) -> NDArray[np.float64]:
    """Decay travelling rows to a time (one, or one per half-life); (N, H, 7) -> (N, H, 3)."""
    half_lives_ms = np.asarray(half_lives_s, dtype=np.float64) * 1000.0
    times_ms = np.empty(len(half_lives_ms))
    times_ms[:] = time_ms
    return _decay_parts(np.ascontiguousarray(parts), half_lives_ms, times_ms)


@compiled
def _decay_parts(
    parts: NDArray[np.float64], half_lives_ms: NDArray[np.float64], times_ms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Decay in one pass: a request reads two tables so, and numpy takes five times as long over some twenty rows."""
    out = np.empty((len(parts), len(half_lives_ms), 3))
    for span in range(len(half_lives_ms)):
        half_life_ms, time_ms = half_lives_ms[span], times_ms[span]
        for row in range(len(parts)):
            part = parts[row, span]
            exponent = (part[0] * (EPOCH_HALF_LIVES * half_life_ms) - time_ms) / half_life_ms
            this = 2.0 ** min(exponent, _MAX_EXPONENT)
            before = 2.0 ** min(exponent - EPOCH_HALF_LIVES, _MAX_EXPONENT)
            for kind in range(3):
                out[row, span, kind] = this * part[1 + kind] + before * part[4 + kind]
    return out


@compiled
def _add_decayed(
    sums: NDArray[np.float64],
    rows: NDArray[np.int64],
    reference_ms: NDArray[np.float64],
    half_lives_ms: NDArray[np.float64],
    time_ms: int,
    amounts: NDArray[np.float64],
) -> None:
    for span in range(len(half_lives_ms)):
        weight = 2.0 ** ((time_ms - reference_ms[span]) / half_lives_ms[span])
        for row in rows:
            for kind in range(len(amounts)):
                sums[row, span, kind] += weight * amounts[kind]


@compiled
def _add_many(
    sums: NDArray[np.float64],
    rows: NDArray[np.int64],
    events: NDArray[np.int64],
    reference_ms: NDArray[np.float64],
    half_lives_ms: NDArray[np.float64],
    times_ms: NDArray[np.int64],
    outcomes: NDArray[np.int64],
    amounts: NDArray[np.float64],
    start: int,
) -> int:
    """Add from `start` on; return how far that went: up to an event that wants a later reference, or to the end."""
    weights, weighed = np.empty(len(half_lives_ms)), -1
    for place in range(start, len(rows)):
        event, row = events[place], rows[place]
        if event != weighed:
            time_ms, weighed = times_ms[event], event
            if time_ms - reference_ms[0] > _REBASE_HALF_LIVES * half_lives_ms[0]:
                return place
            for span in range(len(half_lives_ms)):
                weights[span] = 2.0 ** ((time_ms - reference_ms[span]) / half_lives_ms[span])
        of_event = amounts[outcomes[event] + 1 if -1 <= outcomes[event] <= 1 else 1]
        for span in range(len(half_lives_ms)):
            for kind in range(amounts.shape[1]):
                sums[row, span, kind] += weights[span] * of_event[kind]
    return len(rows)


@compiled
def _read_decayed(
    sums: NDArray[np.float64],
    rows: NDArray[np.int64],
    reference_ms: NDArray[np.float64],
    half_lives_ms: NDArray[np.float64],
    now_ms: int,
) -> NDArray[np.float64]:
    out = np.empty((len(rows), len(half_lives_ms), sums.shape[2]))
    for span in range(len(half_lives_ms)):
        factor = 2.0 ** min((reference_ms[span] - now_ms) / half_lives_ms[span], _MAX_EXPONENT)
        for place in range(len(rows)):
            for kind in range(sums.shape[2]):
                out[place, span, kind] = sums[rows[place], span, kind] * factor
    return out


@compiled
def _decay_factors(
    reference_ms: NDArray[np.float64], half_lives_ms: NDArray[np.float64], now_ms: int
) -> NDArray[np.float64]:
    factors = np.empty(len(half_lives_ms))
    for span in range(len(half_lives_ms)):
        factors[span] = 2.0 ** min((reference_ms[span] - now_ms) / half_lives_ms[span], _MAX_EXPONENT)
    return factors


class DecayedTable:
    """Decayed sums of many rows, kept relative to one reference time per half-life.

    Args:
        half_lives_s: half-lives in seconds, shape (H,).
    """

    def __init__(self, half_lives_s: Sequence[float]) -> None:
        self.half_lives_ms = np.asarray(half_lives_s, dtype=np.float64) * 1000.0
        self._sums = np.zeros((64, len(half_lives_s), len(KINDS)))
        self._reference_ms: NDArray[np.float64] | None = None
        self.num_rows = 0

    def append_row(self) -> int:
        """Add a zero row and return its number."""
        if self.num_rows == len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
        self.num_rows += 1
        return self.num_rows - 1

    def add(self, row: int, event_time_ms: int, outcome: int) -> None:
        """Count one event; the order of calls does not matter."""
        self.add_amounts(row, event_time_ms, event_kinds(outcome))

    def add_events(
        self, rows: NDArray[np.int64], events: NDArray[np.int64], times_ms: NDArray[np.int64], kinds: NDArray[np.int64]
    ) -> None:
        """Count many events in their order: as `add` of each row would, to the last bit.

        Args:
            rows: (n,) where something is counted.
            events: (n,) which of the events is counted there, ascending.
            times_ms: (E,) when each event happened.
            kinds: (E,) its outcome.
        """
        start = 0
        while start < len(rows):
            self._refer_to(int(times_ms[events[start]]))
            assert self._reference_ms is not None
            start = _add_many(
                self._sums, rows, events, self._reference_ms, self.half_lives_ms, times_ms, kinds, _OUTCOMES, start
            )

    def add_amounts(self, row: int, event_time_ms: int, amounts: NDArray[np.float64]) -> None:
        """Add three amounts (3,) of one moment; the order of calls does not matter."""
        self._add(np.array([row]), event_time_ms, amounts)

    def _refer_to(self, event_time_ms: int) -> None:
        """See to it that an event of this time can be added."""
        if self._reference_ms is None:
            self._reference_ms = np.full(len(self.half_lives_ms), float(event_time_ms))
        if event_time_ms - self._reference_ms[0] > _REBASE_HALF_LIVES * self.half_lives_ms[0]:
            self._move_reference(np.full(len(self.half_lives_ms), float(event_time_ms)))

    def _add(self, rows: NDArray[np.int64], event_time_ms: int, amounts: NDArray[np.float64]) -> None:
        self._refer_to(event_time_ms)
        assert self._reference_ms is not None
        _add_decayed(self._sums, rows, self._reference_ms, self.half_lives_ms, event_time_ms, amounts)

    def set_row(self, row: int, flat: NDArray[np.float64]) -> None:
        """Replace a row by the travelling layout, shape (H * 7,)."""
        parts = flat.reshape(len(self.half_lives_ms), NUMBERS_PER_HALF_LIFE)
        epoch_ms = EPOCH_HALF_LIVES * self.half_lives_ms
        self._move_reference(parts[:, 0] * epoch_ms + epoch_ms)
        assert self._reference_ms is not None
        self._sums[row] = decay_rows(parts[None], self.half_lives_ms / 1000.0, self._reference_ms)[0]

    def sums_and_decay(self, now_ms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a view of the sums (N, H, 3), and the factors (H,) that decay them to `now_ms`: for compiled loops."""
        if self._reference_ms is None:
            return self._sums[: self.num_rows], np.zeros(len(self.half_lives_ms))
        return self._sums[: self.num_rows], _decay_factors(self._reference_ms, self.half_lives_ms, now_ms)

    def read(self, now_ms: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return the sums decayed to `now_ms`, shape (N, H, 3); events ahead of now weigh at most 2^(ahead/h)."""
        rows = np.arange(self.num_rows) if rows is None else rows
        if self._reference_ms is None:
            return np.zeros((len(rows), *self._sums.shape[1:]))
        return _read_decayed(self._sums, rows, self._reference_ms, self.half_lives_ms, now_ms)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the whole state for a checkpoint: `sums` (N, H, 3) and `reference_ms` (H,), empty when unset."""
        reference = np.zeros(0) if self._reference_ms is None else self._reference_ms
        return {"sums": self._sums[: self.num_rows].copy(), "reference_ms": reference.copy()}

    def restore(self, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over what `arrays` returned."""
        self.num_rows = len(arrays["sums"])
        self._sums = np.zeros((max(64, 2 * self.num_rows), len(self.half_lives_ms), len(KINDS)))
        self._sums[: self.num_rows] = arrays["sums"]
        self._reference_ms = arrays["reference_ms"].copy() if len(arrays["reference_ms"]) else None

    def _move_reference(self, times_ms: NDArray[np.float64]) -> None:
        """Move the reference of those half-lives that `times_ms` (H,) is too far ahead of."""
        if self._reference_ms is None:
            self._reference_ms = times_ms.copy()
        ahead = (times_ms - self._reference_ms) / self.half_lives_ms
        if (ahead > _REBASE_HALF_LIVES).any():
            moved = np.where(ahead > _REBASE_HALF_LIVES, ahead, 0.0)
            # Not in place: a thread may still sum up what it has a view of, with the factors of before.
            self._sums = self._sums * np.exp2(-moved)[None, :, None]
            self._reference_ms = self._reference_ms + moved * self.half_lives_ms
