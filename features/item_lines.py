"""What the pre-ranker reads of an item, side by side: one line of the processor's cache an item in place of seven.

The items of a pool lie anywhere in a catalogue, and to fetch them costs more than to score them.
Letters: `N` items in the caller's row space, `H` half-lives, `W` numbers of a line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import model_inputs
from features.compiled import compiled
from features.item_table import MAX_CATEGORIES

LINE_BYTES = 64
"""What a processor fetches at once."""
NO_CODE, FAR_CODE = 0xFFFF, 0xFFFE
"""No further category; the first one where a code is too large for a line, and the item table must be read."""
_BLOCK = 64
"""Items that are written at once."""
CO_VISITATION_SHARE = 0.5
"""Weight of co-visitation over the last 5 against popularity in the hand score."""


class ItemLines(NamedTuple):
    """Three views of one block of memory. A line: static inputs, popularity, category codes, publication time."""

    numbers: NDArray[np.float32]
    """(N, W): the pre-ranker inputs that are the same for every user (H + 5), then popularity."""
    codes: NDArray[np.uint16]
    """(N, 2 W), from `codes_at` on."""
    times_ms: NDArray[np.int64]
    """(N, W / 2), at `published_at`."""


@compiled
def num_static_of(num_half_lives: int) -> int:
    """Return how many inputs are the same for every user: hand score, shares, ages and idle; popularity is behind."""
    return num_half_lives + 5


@compiled
def codes_at(num_half_lives: int) -> int:
    """Return the first code's place in a line, in numbers of two bytes."""
    return 2 * (num_static_of(num_half_lives) + 1)


@compiled
def published_at(num_half_lives: int) -> int:
    """Return the publication time's place in a line, in numbers of eight bytes."""
    return (codes_at(num_half_lives) + MAX_CATEGORIES + 3) // 4


def empty_lines(num_items: int, num_half_lives: int) -> ItemLines:
    """Return lines of zeros."""
    width = 2 * (published_at(num_half_lives) + 1)
    per_line = LINE_BYTES // 4
    numbers = aligned_zeros(num_items, -(-width // per_line) * per_line)
    return ItemLines(numbers, numbers.view(np.uint16), numbers.view(np.int64))


def aligned_zeros(num_rows: int, width: int) -> NDArray[np.float32]:
    """Return zeros (num_rows, width) that begin where a line of the cache does: no row lies across more than needed."""
    memory = np.zeros(num_rows * width * 4 + LINE_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + num_rows * width * 4].view(np.float32).reshape(num_rows, width)


@compiled
def hand_score(last_5: float, popularity: float) -> float:
    """Mix P(next | last 5) with popularity, half and half, as a scaled log: the simple method to beat."""
    return model_inputs.log_share(CO_VISITATION_SHARE * last_5 + (1.0 - CO_VISITATION_SHARE) * popularity)


@compiled
def fill_lines(
    table_rows: NDArray[np.int64],
    sums: NDArray[np.float64],
    decay: NDArray[np.float64],
    totals: NDArray[np.float64],
    seen_ms: NDArray[np.int64],
    popularity: NDArray[np.float32],
    now_ms: int,
    lines: ItemLines,
) -> None:
    """Write hand scores, log shares, ages and popularity; `fill_facts` writes the rest, and comes first.

    A block of items at a time, columns side by side: eight logs at once in place of one.
    """
    numbers, times_ms, spans = lines.numbers, lines.times_ms, len(decay)
    published, num_static = published_at(spans), num_static_of(spans)
    shares, popular, block = np.empty((spans, _BLOCK)), np.empty(_BLOCK), np.empty((num_static, _BLOCK), np.float32)
    published_ms, seen = np.empty(_BLOCK, dtype=np.int64), np.empty((2, _BLOCK), dtype=np.int64)
    for first in range(0, len(table_rows), _BLOCK):
        size = min(_BLOCK, len(table_rows) - first)
        for place in range(size):
            row, table_row = first + place, table_rows[first + place]
            is_seen = row < len(seen_ms)
            for kind in range(2):
                seen[kind, place] = seen_ms[row, kind] if is_seen else 0
            published_ms[place], popular[place] = times_ms[row, published], popularity[row]
            for span in range(spans):
                shares[span, place] = sums[table_row, span, 1] * decay[span]
        for place in range(size):
            block[0, place] = hand_score(0.0, popular[place])
        for span in range(spans):
            at_least = max(totals[span, 1], 1.0)
            for place in range(size):
                block[1 + span, place] = model_inputs.log_share(shares[span, place] / at_least)
        model_inputs.fill_ages(published_ms[:size], seen, now_ms, block, 1 + spans)
        for place in range(size):
            for index in range(num_static):
                numbers[first + place, index] = block[index, place]
            numbers[first + place, num_static] = popular[place]


@compiled
def fill_facts(
    first: int,
    table_rows: NDArray[np.int64],
    categories: NDArray[np.int32],
    published_ms: NDArray[np.int64],
    num_half_lives: int,
    lines: ItemLines,
) -> None:
    """Write what an item's record says, categories and publication time, of all rows from `first` on."""
    codes, times_ms = lines.codes, lines.times_ms
    first_code, published = codes_at(num_half_lives), published_at(num_half_lives)
    for row in range(first, len(table_rows)):
        table_row = table_rows[row]
        times_ms[row, published] = published_ms[table_row]
        for slot in range(MAX_CATEGORIES):
            code = categories[table_row, slot]
            codes[row, first_code + slot] = NO_CODE if code < 0 else min(code, FAR_CODE)
        for slot in range(MAX_CATEGORIES):
            if codes[row, first_code + slot] == FAR_CODE:
                codes[row, first_code] = FAR_CODE
