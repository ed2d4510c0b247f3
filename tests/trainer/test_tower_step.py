"""The tower's gradients by hand are those of autograd."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.model import HISTORY_DECAY, TwoTower
from trainer.tower_step import ItemCategories, TowerQueries, tower_step

DIM, USERS, ITEMS = 6, 5, 11
CATEGORIES = np.array([[0, 7], [-1, -1], [7, -1], [3, 0], *[[number % 4, -1] for number in range(7)]])
"""Of the items; the second has none."""


def plain_loss(
    tower: TwoTower,
    users: Tensor,
    items: Tensor,
    categories: Tensor,
    of_items: NDArray[np.int64],
    queries: TowerQueries,
) -> Tensor:
    """Sampled softmax with log-Q correction, written for reading."""
    names = np.unique(of_items[of_items >= 0]).tolist()
    means = [
        torch.stack([categories[names.index(name)] for name in own if name >= 0]).mean(dim=0)
        if own[0] >= 0
        else torch.zeros(DIM)
        for own in of_items.tolist()
    ]
    vectors = items + torch.stack(means)
    weights = queries.is_used * HISTORY_DECAY ** torch.arange(queries.is_used.shape[1])
    sums = weights.sum(dim=1, keepdim=True)
    mean = (weights.unsqueeze(2) * vectors[queries.history]).sum(dim=1) / sums.clamp(min=1e-6)
    own = users + (sums > 0) * tower.history_projection(mean)
    return functional.cross_entropy(own @ vectors[queries.candidates].T - queries.log_q, queries.targets)


def test_gradients_equal_those_of_autograd() -> None:
    """With an empty history, an item without categories, and one that is candidate and history at once."""
    torch.manual_seed(4)
    tower = TwoTower(DIM)
    torch.nn.init.normal_(tower.history_projection.weight)
    torch.nn.init.normal_(tower.history_projection.bias)
    categories = ItemCategories.of_rows(CATEGORIES, "cpu")
    rows = [torch.randn(size, DIM).requires_grad_() for size in (USERS, ITEMS, len(categories.distinct))]
    is_used = (torch.rand(USERS, 4) > 0.3).float()
    is_used[2] = 0.0
    candidates = torch.tensor([0, 1, 3, 4, 8, 10])
    queries = TowerQueries(
        torch.randint(ITEMS, (USERS, 4)), is_used, candidates, torch.randn(6), torch.randint(6, (USERS,))
    )
    expected = plain_loss(tower, rows[0], rows[1], rows[2], CATEGORIES, queries)
    expected.backward()  # type: ignore[no-untyped-call]
    found = {name: torch.full_like(parameter, torch.nan) for name, parameter in tower.named_parameters()}
    users, items, of_categories = (row.detach() for row in rows)
    loss, of_rows = tower_step(tower, users, items, of_categories, categories, queries, found)
    torch.testing.assert_close(loss, expected.detach())
    for row, gradient in zip(rows, (of_rows.users, of_rows.items, of_rows.categories), strict=True):
        torch.testing.assert_close(gradient, row.grad)
    for name, parameter in tower.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
