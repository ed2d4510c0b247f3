"""A sample of a list holds what was chosen and its strongest rivals, and stands for the whole list in the mean."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.list_sampling import sampled_rows

SCORES = np.array([0.5, 2.0, 2.0, -1.0, 2.0, 0.0, 3.0, 1.0, -2.0, 0.7], dtype=np.float32)


def test_strongest_rivals_stand_for_themselves() -> None:
    """Ties are broken by the order of the list; the target comes first and is no rival."""
    rows, copies = sampled_rows(SCORES, 7, strongest=3, drawn=2, offset=0.5)
    assert rows[:4].tolist() == [7, 1, 2, 6]
    assert copies.tolist() == [1.0] * 4 + [3.0] * 2
    assert len(set(rows.tolist())) == 6


@pytest.mark.parametrize("strongest", [0, 3])
def test_every_other_row_has_the_same_chance(strongest: int) -> None:
    """Over all offsets each row counts once in the mean, so that sums over samples are sums over the list."""
    counts, offsets = np.zeros(len(SCORES)), (np.arange(1000) + 0.5) / 1000
    for offset in offsets.tolist():
        rows, copies = sampled_rows(SCORES, 7, strongest, drawn=4, offset=offset)
        counts[rows] += copies
    np.testing.assert_allclose(counts / len(offsets), 1.0, atol=0.01)


@pytest.mark.parametrize("target", [0, 4, 9])
def test_a_short_list_is_learnt_whole(target: int) -> None:
    """Nothing is drawn where there is room for all."""
    rows, copies = sampled_rows(SCORES, target, strongest=5, drawn=4, offset=0.0)
    assert rows[0] == target
    assert sorted(rows.tolist()) == list(range(10))
    assert copies.tolist() == [1.0] * 10
