"""Content of items: words and word pairs of their titles, hashed, and which items share them.

Places an item that nobody touched yet beside those it resembles: sequels, franchises, topics.
Letters: `N` items, `T` tokens of an item, `S` buckets, `P` postings.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from mmh3 import hash as murmur
from numpy.typing import NDArray

from features.compiled import compiled
from features.grown import grown
from features.touched_rows import TouchedRows

MAX_TOKENS = 16
"""Words and pairs of neighbouring words kept of a title."""
NUM_BUCKETS = 1 << 16
POSTINGS = 48
"""Newest items remembered per bucket: common words name no neighbours, rare ones have few."""

_WORD = re.compile(r"[^\W_]+")


class Titles(NamedTuple):
    """The arrays of a `TitleIndex`, as compiled code takes them."""

    tokens: NDArray[np.int32]
    """(N, T) buckets, -1 where a title has no more."""
    num_titles: NDArray[np.float32]
    """(S,) titles that hold the bucket."""
    postings: NDArray[np.int32]
    """(S, P) item rows, -1 where empty."""


_TABLE = 2048
"""Counts of titles whose rarity is looked up: nearly every token's."""


@compiled
def rarity_table(num_items: int) -> NDArray[np.float64]:
    """Return `log(1 + num_items / count)` for counts from 0, of which the first says nothing: logs are dear."""
    table = np.zeros(min(num_items + 1, _TABLE))
    for count in range(1, len(table)):
        table[count] = math.log(1.0 + num_items / count)
    return table


@compiled
def rarity(count: float, num_items: int, table: NDArray[np.float64]) -> float:
    """Return how rare a token is that stands in `count` titles of `num_items`: its inverse document frequency."""
    return table[int(count)] if count < len(table) else math.log(1.0 + num_items / count)


class TitleIndex:
    """Title tokens by item row."""

    def __init__(self) -> None:
        self.num_items = 0
        self._tokens = np.full((64, MAX_TOKENS), -1, dtype=np.int32)
        self._num_titles = np.zeros(NUM_BUCKETS, dtype=np.float32)
        self._postings = np.full((NUM_BUCKETS, POSTINGS), -1, dtype=np.int32)
        self.touched = TouchedRows()

    @classmethod
    def from_tokens(cls, tokens: NDArray[np.int32]) -> TitleIndex:
        """Build the index over `tokens` (N, T), in the order of the rows."""
        index = cls()
        index._tokens = tokens
        index.num_items = len(tokens)
        index._index_all()
        return index

    def copy(self, tokens: NDArray[np.int32]) -> TitleIndex:
        """Return a second index over the same titles, `tokens` (N, T), without counting them again."""
        index = TitleIndex()
        index._tokens, index.num_items = tokens, len(tokens)
        index._num_titles, index._postings = self._num_titles.copy(), self._postings.copy()
        return index

    def take_over(self, tokens: NDArray[np.int32], rows: NDArray[np.int64], were_empty: bool) -> None:
        """Follow an array of titles that somebody else changed.

        Args:
            tokens: (N, T) all titles as they are now.
            rows: (any,) those that are others than before, new ones among them.
            were_empty: whether none of them was a title before; else all are counted again.
        """
        self._tokens, self.num_items = tokens, len(tokens)
        if were_empty:
            _index_tokens(tokens, rows, self._num_titles, self._postings)
        else:
            self._index_all()

    @property
    def titles(self) -> Titles:
        """All rows; a view that `set_title` changes."""
        return Titles(self._tokens[: self.num_items], self._num_titles, self._postings)

    def set_title(self, row: int, title: str) -> None:
        """Take over the title of an item; an empty one says nothing.

        What the index holds is a function of the titles alone, not of the order in which they came.
        """
        self.reserve(row + 1)
        tokens = title_tokens(title)
        old = self._tokens[row][self._tokens[row] >= 0]
        if np.array_equal(old, tokens):
            return
        self._tokens[row] = -1
        self._tokens[row, : len(tokens)] = tokens
        self.touched.marks[row] = True
        if len(old):  # A changed title is rare: its buckets are read again.
            self._index_all()
        else:
            _index_tokens(self._tokens, np.array([row]), self._num_titles, self._postings)

    def reserve(self, num_items: int) -> None:
        """Grow to `num_items` rows, doubling the capacity."""
        self.touched.reserve(num_items)  # Tables that came as arrays have rows, and no marks.
        if num_items <= self.num_items:
            return
        self._tokens = grown(self._tokens, num_items, fill=-1)
        self.num_items = num_items

    def _index_all(self) -> None:
        self._num_titles[:] = 0.0
        self._postings[:] = -1
        _index_tokens(self._tokens, np.arange(self.num_items), self._num_titles, self._postings)


def title_tokens(title: str) -> NDArray[np.int32]:
    """Hash the words and pairs of neighbouring words of a title, each bucket once, at most `MAX_TOKENS`."""
    words = _WORD.findall(title.lower())
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    alternating = [text for two in zip(words, [*pairs, ""], strict=False) for text in two if text]
    buckets = dict.fromkeys(murmur(text, signed=False) % NUM_BUCKETS for text in alternating)
    return np.fromiter(buckets, dtype=np.int32)[:MAX_TOKENS]


@compiled
def _index_tokens(
    tokens: NDArray[np.int32],
    rows: NDArray[np.int64],
    num_titles: NDArray[np.float32],
    postings: NDArray[np.int32],
) -> None:
    """Add rows; a bucket keeps the largest rows, largest first."""
    for row in rows:
        for slot in range(tokens.shape[1]):
            bucket = tokens[row, slot]
            if bucket < 0:
                break
            num_titles[bucket] += np.float32(1.0)
            place = 0
            while place < postings.shape[1] and postings[bucket, place] > row:
                place += 1
            for later in range(postings.shape[1] - 1, place, -1):
                postings[bucket, later] = postings[bucket, later - 1]
            if place < postings.shape[1]:
                postings[bucket, place] = row
