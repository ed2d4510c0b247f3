"""Titles place items beside those they resemble."""

from __future__ import annotations

import numpy as np

from features.title_index import MAX_TOKENS, POSTINGS, TitleIndex, title_tokens


def test_words_and_pairs_are_tokens_whatever_their_case() -> None:
    """Punctuation says nothing; order says something."""
    assert set(title_tokens("Iron-Man!")) == set(title_tokens("iron man"))
    assert len(title_tokens("iron man")) == 3
    assert set(title_tokens("man iron")) != set(title_tokens("iron man"))


def test_a_long_title_keeps_its_beginning() -> None:
    """At most `MAX_TOKENS`; none for none."""
    assert len(title_tokens(" ".join(f"w{i}" for i in range(99)))) == MAX_TOKENS
    assert len(title_tokens("?!")) == 0


def test_a_bucket_remembers_its_newest_items() -> None:
    """The oldest give way."""
    index = TitleIndex()
    for row in range(POSTINGS + 2):
        index.set_title(row, "alien")
    (bucket,) = title_tokens("alien")
    assert set(index.titles.postings[bucket].tolist()) == set(range(2, POSTINGS + 2))
    assert index.titles.num_titles[bucket] == POSTINGS + 2


def test_a_changed_title_is_counted_once() -> None:
    """And the same one again changes nothing."""
    index = TitleIndex()
    for title in ("alien", "alien", "alien again"):
        index.set_title(0, title)
    old, new = title_tokens("alien")[0], title_tokens("again")[0]
    assert (index.titles.num_titles[old], index.titles.num_titles[new]) == (1.0, 1.0)


def test_the_order_in_which_titles_come_does_not_matter() -> None:
    """A restart builds the index from the rows; it must be the one that was."""
    forward, backward = TitleIndex(), TitleIndex()
    rows = range(POSTINGS + 3)
    for row in rows:
        forward.set_title(row, "alien")
    for row in reversed(rows):
        backward.set_title(row, "other" if row == 5 else "alien")
    backward.set_title(5, "alien")
    for mine, theirs in zip(forward.titles, backward.titles, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_index_over_the_tokens_is_the_same_index() -> None:
    """What a version carries."""
    index = TitleIndex()
    for row, title in enumerate(("alien", "", "alien resurrection")):
        index.set_title(row, title)
    copy = TitleIndex.from_tokens(index.titles.tokens.copy())
    for mine, theirs in zip(index.titles, copy.titles, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_titles_that_came_as_an_array_can_be_set() -> None:
    """Of a restored index every row can be touched, as far as it goes: it has rows, and no marks yet."""
    index = TitleIndex.from_tokens(np.full((5000, MAX_TOKENS), -1, dtype=np.int32))
    index.set_title(4999, "Alien")
    assert index.touched.take().tolist() == [4999]
