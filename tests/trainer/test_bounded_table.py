"""Rows are earned, expire and give way; what takes a row over knows nothing of the one before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.bounded_table import BoundedTable
from trainer.step_config import RowLimits


def _table(max_rows: int = 4, admit_after: int = 1, expire_after_ms: int = 0, scale: float = 0.0) -> BoundedTable:
    return BoundedTable(3, 0.1, scale, seed=5, limits=RowLimits(max_rows, admit_after, expire_after_ms))


def _learn(table: BoundedTable, ids: str, now_ms: int = 0) -> None:
    """Let every letter of `ids` take a step."""
    rows = torch.from_numpy(table.use_rows(list(ids), now_ms))
    table.learn_rows(rows, torch.arange(1.0, len(rows) + 1).unsqueeze(1).expand(-1, 3))


def test_least_recently_used_goes_first() -> None:
    """A full table: `a` was used again, so `b` makes room."""
    table = _table()
    for ids in ("abcd", "a", "e"):
        _learn(table, ids)
    assert (sorted(table.ids), table.metrics()["evicted"]) == (["a", "c", "d", "e"], 1)


def test_table_never_exceeds_its_bound_and_spares_the_batch_at_hand() -> None:
    """More new ids than room: those of this batch that have a row keep it, the last of the others get none."""
    table = _table()
    _learn(table, "abcd")
    rows = table.use_rows(list("avwxyz"), 0)
    assert len(table) == 4
    assert (rows >= 0).tolist() == [True, True, True, True, False, False]


def test_reused_row_starts_anew() -> None:
    """Neither values nor optimiser state of the id before are left, and those that moved keep theirs."""
    table = _table()
    _learn(table, "abcd")
    before = {id_: (table.weight[row].clone(), table.squares[row].clone()) for row, id_ in enumerate(table.ids)}
    rows = table.use_rows(["e", "d"], 0)
    assert (table.weight[rows[0]].tolist(), float(table.squares[rows[0]])) == ([0.0] * 3, 0.0)
    for row, id_ in enumerate(table.ids):
        if id_ != "e":
            assert (table.weight[row].equal(before[id_][0]), table.squares[row].equal(before[id_][1])) == (True, True)


def test_returning_id_starts_like_a_new_one() -> None:
    """Its first values are a function of the id again, not what it had learnt."""
    table = _table(max_rows=1, scale=0.1)
    first = table.gather(torch.from_numpy(table.use_rows(["a"], 0)))
    for ids in "aba":
        _learn(table, ids)
    _learn(table, "b")
    assert torch.equal(table.gather(torch.from_numpy(table.use_rows(["a"], 0))), first)


def test_row_is_earned_by_sightings() -> None:
    """Until the threshold an id has no row and its gradient goes nowhere."""
    table = _table(admit_after=3)
    seen = [int(table.use_rows(ids, 0)[0]) for ids in (["a"], ["b"], ["a"], ["a"])]
    assert seen == [-1, -1, -1, 0]
    assert table.metrics() == {"rows": 1, "waiting": 2, "admitted": 1, "expired": 0, "evicted": 0}


def test_row_expires_by_stream_time() -> None:
    """Used at 0 and 50, gone after 100 without use; the one used since stays."""
    table = _table(expire_after_ms=100)
    for ids, now_ms in (("ab", 0), ("b", 50), ("c", 101)):
        _learn(table, ids, now_ms)
    assert (sorted(table.ids), table.metrics()["expired"]) == (["b", "c"], 1)


def test_many_rows_expire_a_few_at_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long silence no call removes more than its share."""
    monkeypatch.setattr("trainer.bounded_table._MOST_EXPIRED", 2)
    table = _table(max_rows=10, expire_after_ms=100)
    _learn(table, "abcde")
    sizes = []
    for _ in range(4):
        table.use_rows([], 1000)
        sizes.append(len(table))
    assert sizes == [3, 1, 0, 0]


def test_rows_equal_those_of_a_plain_dictionary() -> None:
    """A thousand random batches: ids, order of use and values as ten lines of plain Python have them."""
    table, random = _table(max_rows=20, expire_after_ms=60), np.random.default_rng(2)
    used: dict[str, tuple[int, int]] = {}  # In order of use: last use, steps taken.
    for now_ms in range(0, 10_000, 10):
        ids = list(dict.fromkeys(f"u{number}" for number in random.zipf(1.3, size=5) % 60))
        used = {id_: entry for id_, entry in used.items() if entry[0] >= now_ms - 60}
        known = {id_: used.pop(id_) for id_ in ids if id_ in used}
        while used and len(used) + len(ids) > 20:
            used.pop(next(iter(used)))
        used |= {id_: (now_ms, entry[1] + 1) for id_, entry in known.items()}
        used |= {id_: (now_ms, 1) for id_ in ids if id_ not in known}
        rows = torch.from_numpy(table.use_rows(ids, now_ms))
        table.learn_rows(rows, torch.ones(len(ids), 3))
    assert {id_: float(table.squares[row]) for row, id_ in enumerate(table.ids)} == {i: e[1] for i, e in used.items()}


@pytest.mark.parametrize("admit_after", [1, 2])
def test_restored_table_goes_on_alike(admit_after: int) -> None:
    """Order of use, sightings, counts and row numbers: the same batches lead to the same bits."""
    table, random = _table(8, admit_after, 200), np.random.default_rng(3)
    batches = ["".join(random.choice(list("abcdefghijklmnop"), size=4)) for _ in range(80)]
    for number, ids in enumerate(batches[:40]):
        _learn(table, ids, 10 * number)
    other = _table(8, admit_after, 200)
    other.restore(table.ids, table.arrays())
    for number, ids in enumerate(batches[40:]):
        _learn(table, ids, 400 + 10 * number)
        _learn(other, ids, 400 + 10 * number)
    assert (other.ids, other.metrics()) == (table.ids, table.metrics())
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in table.arrays().items())
