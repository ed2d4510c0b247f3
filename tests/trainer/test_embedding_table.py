"""Rows never collide, start alike whatever the order, and move as Adagrad says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.embedding_table import EmbeddingTable


def _table(dim: int = 4, scale: float = 0.1) -> EmbeddingTable:
    return EmbeddingTable(dim, learning_rate=0.1, initial_scale=scale, seed=3)


def test_rows_never_collide() -> None:
    """Ten thousand ids, many calls and capacities later: every id has a row of its own, and keeps it."""
    table, ids = _table(dim=2), [f"id{i}" for i in range(10_000)]
    rows = np.concatenate([table.rows_of(ids[start : start + 777], add=True) for start in range(0, len(ids), 777)])
    assert sorted(rows.tolist()) == list(range(len(ids)))
    assert np.array_equal(table.rows_of(ids), rows)


def test_unknown_id_has_no_row() -> None:
    """Looking up does not add, and -1 gathers zeros."""
    table = _table()
    assert table.rows_of(["a"]).tolist() == [-1]
    assert table.gather(torch.tensor([-1])).tolist() == [[0.0] * 4]


def test_id_given_twice_gets_one_row() -> None:
    """Duplicates inside one call share their row."""
    assert _table().rows_of(["a", "b", "a"], add=True).tolist() == [0, 1, 0]


def test_new_row_does_not_depend_on_arrival_order() -> None:
    """The same id starts with the same values in any order, and two ids differ."""
    first, second = _table(), _table()
    first.rows_of(["a", "b"], add=True)
    second.rows_of(["b", "a"], add=True)
    assert torch.equal(first.weight[0], second.weight[1])
    assert not torch.equal(first.weight[0], first.weight[1])


def test_growth_keeps_rows_and_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubling the capacity moves neither values nor Adagrad state, where no address space is reserved either."""
    monkeypatch.setattr("trainer.embedding_table._RESERVED_BYTES", 0)
    table = _table()
    table.learn_rows(torch.from_numpy(table.rows_of(["a"], add=True)), torch.ones(1, 4))
    row, square = table.weight[0].clone(), table.squares[0].clone()
    table.rows_of([f"b{i}" for i in range(500)], add=True)
    assert torch.equal(table.weight[0], row)
    assert torch.equal(table.squares[0], square)


def test_update_equals_torch_adagrad() -> None:
    """With one number a row, row-wise Adagrad is Adagrad: equal to torch.optim over steps with repeated rows."""
    table = _table(dim=1)
    table.rows_of(["a", "b", "c"], add=True)
    reference = torch.nn.Parameter(table.weight.clone())
    optimizer = torch.optim.Adagrad([reference], lr=0.1, eps=1e-8)
    for rows, gradients in (([0, 1, 0], [1.0, 2.0, 3.0]), ([1], [0.5]), ([0, 2], [-1.0, 4.0])):
        dense = torch.zeros(3, 1).index_add_(0, torch.tensor(rows), torch.tensor(gradients).unsqueeze(1))
        reference.grad = dense
        optimizer.step()
        table.learn_rows(torch.tensor(rows), torch.tensor(gradients).unsqueeze(1))
    torch.testing.assert_close(table.weight, reference.detach())


def test_untouched_rows_stay() -> None:
    """A step moves only the rows it names; -1 is passed over."""
    table = _table()
    table.rows_of(["a", "b"], add=True)
    before = table.weight.clone()
    table.learn_rows(torch.tensor([1, -1]), torch.ones(2, 4))
    assert torch.equal(table.weight[0], before[0])
    assert not torch.equal(table.weight[1], before[1])


def test_restore_refuses_what_does_not_fit() -> None:
    """Repeated ids or other shapes are refused with the numbers named."""
    table = _table()
    with pytest.raises(ValueError, match="embedding_dim 4"):
        table.restore(["a", "a"], {"rows": np.zeros((2, 4)), "squares": np.zeros(2)})


def test_save_and_restore_are_equal() -> None:
    """A restored table has the rows, the state and the ids."""
    table, other = _table(), _table()
    table.learn_rows(torch.from_numpy(table.rows_of(["a", "b"], add=True)), torch.ones(2, 4))
    other.restore(table.ids, table.arrays())
    assert other.rows_of(["b", "a"]).tolist() == [1, 0]
    assert torch.equal(other.weight, table.weight)
    assert torch.equal(other.squares, table.squares)
