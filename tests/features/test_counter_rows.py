"""Decayed counters equal plain Python, whatever the order and however they travelled."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

from features.config import EPOCH_HALF_LIVES
from features.counter_rows import DecayedTable

HALF_LIVES_S = (60.0, 3600.0)
EVENTS = [(1_700_000_000_000 + 37_000 * step, (step % 3) - 1) for step in range(400)]
NOW_MS = EVENTS[-1][0] + 5_000


def plain_sums(half_life_s: float) -> list[float]:
    """Sum 2^-(age/half-life) one event at a time."""
    sums = [0.0, 0.0, 0.0]
    for time_ms, outcome in EVENTS:
        weight = 2.0 ** (-(NOW_MS - time_ms) / (1000 * half_life_s))
        for kind, counts in enumerate((True, outcome > 0, outcome < 0)):
            sums[kind] += weight * counts
    return sums


def travelling_row() -> list[float]:
    """Write the row as the feature job does: of each half-life the two newest epochs, against their starts."""
    row: list[float] = []
    for half_life_s in HALF_LIVES_S:
        epoch_ms = EPOCH_HALF_LIVES * half_life_s * 1000
        sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for time_ms, outcome in EVENTS:
            epoch = int(time_ms // epoch_ms)
            weight = 2.0 ** ((time_ms - epoch * epoch_ms) / (1000 * half_life_s))
            sums[epoch] = [
                total + weight * is_one
                for total, is_one in zip(sums[epoch], (True, outcome > 0, outcome < 0), strict=True)
            ]
        row += [max(sums), *sums[max(sums)], *sums[max(sums) - 1]]
    return row


def test_counts_equal_plain_python_in_any_order() -> None:
    """Shuffled events give the sums of the definition."""
    table = DecayedTable(HALF_LIVES_S)
    row = table.append_row()
    for time_ms, outcome in random.Random(1).sample(EVENTS, len(EVENTS)):
        table.add(row, time_ms, outcome)
    expected = np.array([plain_sums(half_life_s) for half_life_s in HALF_LIVES_S])
    np.testing.assert_allclose(table.read(NOW_MS)[row], expected, rtol=1e-9)


def test_events_counted_together_equal_events_counted_one_by_one() -> None:
    """To the last bit, over many rows, late events, unknown outcomes and gaps that move the reference."""
    draw = random.Random(3)
    leaps_ms = (0, 40_000, -3_000, 300 * 60_000)  # The last is 300 of the shortest half-lives.
    times_ms = [1_700_000_000_000]
    for _ in range(60):
        times_ms.append(times_ms[-1] + draw.choice(leaps_ms))
    outcomes = [draw.choice((-1, 0, 1, 7)) for _ in times_ms]
    counted = [(draw.randrange(5), event) for event in range(len(times_ms)) for _ in range(draw.randrange(3))]
    alone, together = DecayedTable(HALF_LIVES_S), DecayedTable(HALF_LIVES_S)
    for table in (alone, together):
        for _ in range(5):
            table.append_row()
    for row, event in counted:
        alone.add(row, times_ms[event], outcomes[event])
    rows, events = np.array(counted).T
    together.add_events(rows, events, np.array(times_ms), np.array(outcomes))
    expected, found = alone.arrays(), together.arrays()
    assert {name: array.tolist() for name, array in expected.items()} == {n: a.tolist() for n, a in found.items()}


def test_two_newest_epochs_hold_the_sum_to_one_part_in_2_to_the_40() -> None:
    """Six epochs of the short half-life are crossed; what the row drops is below 2^-40 of the newest event."""
    assert (EVENTS[-1][0] - EVENTS[0][0]) / (EPOCH_HALF_LIVES * HALF_LIVES_S[0] * 1000) >= 3
    table = DecayedTable(HALF_LIVES_S)
    row = table.append_row()
    table.set_row(row, np.array(travelling_row()))
    expected = np.array([plain_sums(half_life_s) for half_life_s in HALF_LIVES_S])
    np.testing.assert_allclose(table.read(NOW_MS)[row], expected, rtol=1e-9, atol=2.0**-38)


def test_years_between_events_neither_overflow_nor_revive() -> None:
    """A first event long ago is gone, the new one counts whole."""
    table = DecayedTable((60.0,))
    row = table.append_row()
    table.add(row, 1_000_000_000_000, 1)
    table.add(row, 1_900_000_000_000, 1)
    table.add(row, 1_000_000_000_000, 1)
    assert table.read(1_900_000_000_000)[row, 0].tolist() == [1.0, 1.0, 0.0]


def test_checkpoint_arrays_restore_the_table() -> None:
    """A restored table reads the same and counts on."""
    table = DecayedTable(HALF_LIVES_S)
    for _ in range(100):
        table.append_row()
    table.add(99, EVENTS[0][0], 1)
    other = DecayedTable(HALF_LIVES_S)
    other.restore(table.arrays())
    for each in (table, other):
        each.add(each.append_row(), EVENTS[1][0], -1)
    np.testing.assert_array_equal(table.read(NOW_MS), other.read(NOW_MS))


def test_a_row_of_zeros_reads_as_nothing() -> None:
    """An entity without events may be written before it has any."""
    table = DecayedTable(HALF_LIVES_S)
    row = table.append_row()
    table.set_row(row, np.zeros(14))
    assert not table.read(NOW_MS)[row].any()
    table.add(row, NOW_MS, 1)
    assert table.read(NOW_MS)[row, 0].tolist() == [1.0, 1.0, 0.0]


def test_amounts_are_added_as_they_are() -> None:
    """What is expected of a list is a fraction, decayed like a count."""
    table = DecayedTable((60.0,))
    row = table.append_row()
    table.add_amounts(row, NOW_MS - 60_000, np.array([1.0, 0.1, 0.0]))
    assert table.read(NOW_MS)[row, 0].tolist() == pytest.approx([0.5, 0.05, 0.0])
