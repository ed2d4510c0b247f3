"""The pool that a list is cut from: what the sources touched, each item once, and the cut.

Compiled loops over what a user's history leads to; the cost does not grow with the catalogue.
Letters: `N` items in the caller's row space, `m` items of the pool.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.co_visitation import Pairs
from features.compiled import compiled
from features.item_lines import aligned_zeros
from features.model_inputs import MARK, NUM_VISITS, RECENT_VISITS
from features.title_index import NUM_BUCKETS, Titles, rarity
from features.top_rows import top_places

_BY_PAIRS, _BY_TITLE, FIRST_SOURCE, _CONSUMED = 1, 2, 3, 128
RECENCY_DECAY = 0.9
"""Weight of an item of the history against the next newer one, in co-visitation and in the title profile."""
SHORT_WINDOW = 5
"""Newest items of the shorter windows."""
TITLE_WINDOW = 10
"""Newest items whose titles make the user's profile."""


class Scratch(NamedTuple):
    """The arrays of a `Workspace`, as compiled code takes them; all zeros between two lists."""

    visits: NDArray[np.float32]
    """(N, 8) what the history says of each item (visits), and a place for its mark: half a line of the cache."""
    marks: NDArray[np.uint8]
    """(N,) what found the item first: a byte of the last column of `visits`."""
    profile: NDArray[np.float32]
    """(buckets,) weights of the title tokens of the user's newest items."""
    pool: NDArray[np.int64]
    """(N,) rows that are marked, in the order of their discovery."""


class Workspace:
    """Scratch memory of one thread, a row an item: what a list touches is cleared behind it."""

    def __init__(self) -> None:
        self._make_room(64)
        self.profile = np.zeros(NUM_BUCKETS, dtype=np.float32)

    def scratch(self) -> Scratch:
        """Return the arrays."""
        return Scratch(self.visits, self.marks, self.profile, self.pool)

    def reserve(self, num_items: int) -> None:
        """Grow to `num_items` rows, doubling the capacity."""
        if num_items > len(self.marks):  # All zeros between two lists: there is nothing to keep.
            self._make_room(max(num_items, 2 * len(self.marks)))

    def _make_room(self, num_items: int) -> None:
        self.visits = aligned_zeros(num_items, NUM_VISITS + 1)
        self.marks = self.visits.view(np.uint8)[:, 4 * NUM_VISITS]
        self.pool = np.zeros(num_items, dtype=np.int64)


@compiled
def touch_neighbours(
    history: NDArray[np.int64],
    consumed: NDArray[np.int64],
    pairs: Pairs,
    successors: Pairs,
    titles: Titles,
    num_items: int,
    rarities: NDArray[np.float64],
    scratch: Scratch,
) -> int:
    """Sum up what follows the history and what resembles it; mark the consumed items; return the size of the pool."""
    size, marks, pool = 0, scratch.marks, scratch.pool
    for row in consumed:
        if 0 <= row < num_items:
            size = _mark(row, _CONSUMED, marks, pool, size)
    recency = _sum_of_recency(len(history))
    weight = 1.0
    for place in range(len(history)):
        size = _touch_pairs(history[place], place, weight / recency, len(history), pairs, num_items, scratch, size)
        if place < SHORT_WINDOW:
            size = _touch_successors(history[place], place, len(history), successors, num_items, scratch, size)
        weight *= RECENCY_DECAY
    length = min(len(history), TITLE_WINDOW)
    recency = _sum_of_recency(length)
    weight = 1.0
    for place in range(length):
        size = _touch_titles(history[place], weight / recency, titles, num_items, rarities, scratch, size)
        weight *= RECENCY_DECAY
    return size


@compiled
def _mark(row: int, mark: int, marks: NDArray[np.uint8], pool: NDArray[np.int64], size: int) -> int:
    """Put an item into the pool, unless it is there; return the size of the pool."""
    if marks[row]:
        return size
    marks[row] = mark
    pool[size] = row
    return size + 1


@compiled
def _sum_of_recency(length: int) -> float:
    total, weight = 0.0, 1.0
    for _ in range(length):
        total += weight
        weight *= RECENCY_DECAY
    return total


@compiled
def _touch_pairs(
    row: int, place: int, recency: float, length: int, pairs: Pairs, num_items: int, scratch: Scratch, size: int
) -> int:
    """Add what follows one item of the history, `place` from its newest, to the visits of its neighbours."""
    if not 0 <= row < len(pairs.totals):
        return size
    visits, marks, pool = scratch.visits, scratch.marks, scratch.pool
    neighbours, weights, totals = pairs.neighbours, pairs.weights, pairs.totals
    total = max(totals[row], 1.0)
    for k in range(neighbours.shape[1]):
        neighbour = neighbours[row, k]
        if neighbour < 0:
            break
        if neighbour >= num_items:
            continue
        size = _mark(neighbour, _BY_PAIRS, marks, pool, size)
        chance = weights[row, k] / total
        if place == 0:
            visits[neighbour, 0] += chance
        if place < SHORT_WINDOW:
            visits[neighbour, 1] += chance / min(SHORT_WINDOW, length)
            visits[neighbour, 6] += weights[row, k] / math.sqrt(total * max(totals[neighbour], 1.0))
        visits[neighbour, 2] += chance / length
        visits[neighbour, RECENT_VISITS] += recency * chance
    return size


@compiled
def _touch_successors(
    row: int, place: int, length: int, successors: Pairs, num_items: int, scratch: Scratch, size: int
) -> int:
    """Add what came right after one of the newest items to the visits of those."""
    if not 0 <= row < len(successors.totals):
        return size
    visits, marks, pool = scratch.visits, scratch.marks, scratch.pool
    neighbours, weights, total = successors.neighbours, successors.weights, max(successors.totals[row], 1.0)
    for k in range(neighbours.shape[1]):
        neighbour = neighbours[row, k]
        if neighbour < 0:
            break
        if neighbour >= num_items:
            continue
        size = _mark(neighbour, _BY_PAIRS, marks, pool, size)
        chance = weights[row, k] / total
        if place == 0:
            visits[neighbour, 4] += chance
        visits[neighbour, 5] += chance / min(SHORT_WINDOW, length)
    return size


@compiled
def _touch_titles(
    row: int,
    recency: float,
    titles: Titles,
    num_items: int,
    rarities: NDArray[np.float64],
    scratch: Scratch,
    size: int,
) -> int:
    """Add the words of one item of the history to the user's profile, and the items that share them to the pool."""
    if not 0 <= row < len(titles.tokens):
        return size
    square, marks, pool = 0.0, scratch.marks, scratch.pool
    for slot in range(titles.tokens.shape[1]):
        if titles.tokens[row, slot] < 0:
            break
        square += rarity(titles.num_titles[titles.tokens[row, slot]], num_items, rarities) ** 2
    for slot in range(titles.tokens.shape[1]):
        bucket = titles.tokens[row, slot]
        if bucket < 0:
            break
        scratch.profile[bucket] += recency * rarity(titles.num_titles[bucket], num_items, rarities) / math.sqrt(square)
        for posting in range(titles.postings.shape[1]):
            neighbour = titles.postings[bucket, posting]
            if neighbour < 0:
                break
            if neighbour < num_items:
                size = _mark(neighbour, _BY_TITLE, marks, pool, size)
    return size


@compiled
def has_titles(history: NDArray[np.int64], titles: Titles) -> bool:
    """Say whether the user's profile has any word."""
    found = False
    for row in history[:TITLE_WINDOW]:
        found |= 0 <= row < len(titles.tokens) and titles.tokens[row, 0] >= 0
    return found


@compiled
def touch_rows(found: NDArray[np.int64], source: int, num_items: int, scratch: Scratch, size: int) -> int:
    """Put what a further source found into the pool, -1 is passed over; return the size of the pool."""
    marks, pool = scratch.marks, scratch.pool
    for row in found:
        if 0 <= row < num_items:
            size = _mark(row, source, marks, pool, size)
    return size


@compiled
def listable_pool(is_listable: NDArray[np.bool_], scratch: Scratch, size: int) -> NDArray[np.int64]:
    """Return the rows of the pool that may be shown, in the order of their discovery; (m,)."""
    rows = np.empty(size, dtype=np.int64)
    count, marks, pool = 0, scratch.marks, scratch.pool
    for place in range(size):
        row = pool[place]
        if marks[row] != _CONSUMED and is_listable[row]:
            rows[count] = row
            count += 1
    return rows[:count]


@compiled
def cut_pool(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    total: int,
    newest: NDArray[np.int64],
    num_newest: int,
    scratch: Scratch,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of the pool make the list, and what found them.

    The best `total` by score, best first; the last `num_newest` places are kept for those of `newest` that are not
    among them.
    """
    size = len(rows)
    wanted = min(total, size)
    chosen, sources = np.empty(wanted, dtype=np.int64), np.empty(wanted, dtype=np.int64)
    order = top_places(scores, wanted)
    stands, is_newest = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    stands[order] = True
    late, num_late = np.empty(min(num_newest, wanted), dtype=np.int64), 0
    for place in _places_of(newest, rows, scratch.marks):
        if place < 0:
            continue
        is_newest[place] = True
        if not stands[place] and num_late < len(late):
            stands[place] = True
            late[num_late] = place
            num_late += 1
    missing = num_late
    for rank in range(wanted - 1, -1, -1):  # The weakest of the others make room.
        if missing and not is_newest[order[rank]]:
            stands[order[rank]] = False
            missing -= 1
    filled = 0
    for place in order:
        if stands[place]:
            chosen[filled] = place
            filled += 1
    chosen[filled:] = late[: wanted - filled]
    for rank in range(wanted):
        sources[rank] = scratch.marks[rows[chosen[rank]]]
    return chosen, sources


@compiled
def _places_of(wanted: NDArray[np.int64], rows: NDArray[np.int64], marks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the places of some rows among many others, -1 for those that are not there; `marks` are left as they are.

    One look at each of the many, instead of one for every row that is wanted.
    """
    places = np.full(len(wanted), -1)
    for row in wanted:
        if 0 <= row < len(marks):
            marks[row] |= MARK
    for place in range(len(rows)):
        if marks[rows[place]] & MARK:
            for index in range(len(wanted)):
                if wanted[index] == rows[place]:
                    places[index] = place
    for row in wanted:
        if 0 <= row < len(marks):
            marks[row] &= 255 ^ MARK
    return places


@compiled
def clear_scratch(scratch: Scratch, size: int, history: NDArray[np.int64], titles: Titles) -> None:
    """Leave the scratch memory as it was found: zeros."""
    visits, pool = scratch.visits, scratch.pool
    for place in range(size):
        for column in range(NUM_VISITS + 1):  # The mark lies in the last one.
            visits[pool[place], column] = 0.0
    for place in range(min(len(history), TITLE_WINDOW)):
        row = history[place]
        if 0 <= row < len(titles.tokens):
            for slot in range(titles.tokens.shape[1]):
                bucket = titles.tokens[row, slot]
                if bucket < 0:
                    break
                scratch.profile[bucket] = 0.0
