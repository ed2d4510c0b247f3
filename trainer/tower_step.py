"""Loss and gradients of the tower by hand: on batches of a few positives autograd's dispatch costs more than its sums.

A test holds every gradient equal to what autograd finds.
Letters: `B` positives, `C` candidates, `L` history, `D` embedding, `Q` distinct items, `K` distinct categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.device import on_device
from trainer.model import TwoTower


class ItemCategories(NamedTuple):
    """Categories of items end to end, each named by its place among those that occur."""

    distinct: Tensor
    """(K,) category rows, ascending."""
    places: Tensor
    """(any,) place in `distinct`."""
    items: Tensor
    """(any,) whose category it is, ascending."""
    starts: Tensor
    """(Q,) where an item's categories begin."""
    sizes: Tensor
    """(Q, 1) float32, of an item without any 1."""

    @classmethod
    def of_rows(cls, categories: NDArray[np.int64], device: str) -> ItemCategories:
        """Lay (Q, M) category rows, -1 where there is none, end to end."""
        is_used = categories >= 0
        sizes = is_used.sum(axis=1)
        distinct, places = np.unique(categories[is_used], return_inverse=True)
        items, starts = np.repeat(np.arange(len(categories)), sizes), np.cumsum(sizes) - sizes
        counts = np.maximum(sizes, 1).astype(np.float32)[:, None]
        return cls(*(on_device(array, device) for array in (distinct, places, items, starts, counts)))


@dataclass(frozen=True)
class TowerQueries:
    """A batch as places among the distinct items."""

    history: Tensor
    """(B, L) places, any where it ends."""
    is_used: Tensor
    """(B, L) float32, 1 where an item of the history counts: known, and not a negative."""
    candidates: Tensor
    """(C,)"""
    log_q: Tensor
    """(C,)"""
    targets: Tensor
    """(B,) places among the candidates."""


@dataclass(frozen=True)
class RowGradients:
    """What the loss says of the rows that a batch gathered."""

    users: Tensor
    """(B, D)"""
    items: Tensor
    """(Q, D)"""
    categories: Tensor
    """(K, D)"""


@torch.no_grad()
def tower_step(
    tower: TwoTower,
    user_rows: Tensor,
    item_rows: Tensor,
    category_rows: Tensor,
    categories: ItemCategories,
    queries: TowerQueries,
    gradients: dict[str, Tensor],
) -> tuple[Tensor, RowGradients]:
    """Return the loss of `trainer.loss.sampled_softmax` and the gradients of rows.

    Args:
        tower: weights.
        user_rows: (B, D)
        item_rows: (Q, D)
        category_rows: (K, D)
        categories: of the Q items.
        queries: who asks for what.
        gradients: of the tower's parameters by name, written to.
    """
    projection = tower.history_projection
    vectors = tower.item_vectors(item_rows, category_rows, categories.places, categories.starts)  # (Q, D)
    weights, has_history = tower.history_weights(queries.is_used)  # (B, L), (B, 1)
    seen = vectors[queries.history]  # (B, L, D)
    means = torch.bmm(weights.unsqueeze(1), seen).squeeze(1)  # (B, D)
    users = user_rows + has_history * projection(means)  # (B, D)
    offered = vectors[queries.candidates]  # (C, D)
    log_chances = torch.log_softmax(users @ offered.T - queries.log_q, dim=1)  # (B, C)
    chosen = queries.targets.unsqueeze(1)
    loss = -log_chances.gather(1, chosen).mean()

    # d loss / d scores = (softmax - one-hot) / B
    of_scores = log_chances.exp_()
    of_scores.scatter_add_(1, chosen, torch.full_like(chosen, -1.0, dtype=of_scores.dtype))
    of_scores /= len(of_scores)
    of_users = of_scores @ offered  # (B, D)
    of_projected = of_users * has_history
    gradients["history_projection.weight"].copy_(of_projected.T @ means)
    gradients["history_projection.bias"].copy_(of_projected.sum(dim=0))
    of_means = of_projected @ projection.weight  # (B, D)
    of_vectors = torch.zeros_like(vectors)
    of_vectors.index_add_(0, queries.candidates, of_scores.T @ users)
    of_seen = weights.unsqueeze(2) * of_means.unsqueeze(1)  # (B, L, D)
    of_vectors.index_add_(0, queries.history.flatten(), of_seen.flatten(0, 1))
    of_categories = torch.zeros_like(category_rows)
    of_categories.index_add_(0, categories.places, (of_vectors / categories.sizes)[categories.items])
    return loss, RowGradients(of_users, of_vectors, of_categories)
