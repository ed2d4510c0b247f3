"""What ranker and heads are trained on, formula beside the line, each loss with its gradient by hand.

A test holds every gradient equal to what autograd finds.

Letters: `T` ranker rows of all lists in a batch, `R` lists, `K` heads, `B` positives, `C` drawn candidates, `N` items.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

UNTOLD = -1
"""A head of a row of which nothing new is known."""
TRUSTED_LABEL, FIRST_LABEL, CHANGED_LABEL = 0, 1, 2
"""How sure a label is: it stays; it is the first word on an item that was shown a moment ago; it is a positive whose
item had been learnt as negative."""


@torch.no_grad()
def ranker_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    copies: Tensor,
    list_of: Tensor,
    num_lists: int,
    softmax_weight: float,
) -> tuple[Tensor, Tensor]:
    """Return BCE plus `softmax_weight` times the listwise softmax, and the gradient of the logits, (T,).

    Args:
        logits: (T,)
        labels: (T,) 0 or 1.
        weights: (T,) of the BCE term; 0 takes a row out of it but leaves it in its list.
        copies: (T,) for how many rows of its list each stands in the softmax.
        list_of: (T,) int64, the list of each row.
        num_lists: R.
        softmax_weight: of the listwise part.
    """
    shares = weights / weights.sum().clamp(min=1.0)
    pointwise = functional.binary_cross_entropy_with_logits(logits, labels, shares, reduction="sum")
    of_pointwise = (torch.sigmoid(logits) - labels).mul_(shares)
    listwise, of_listwise = listwise_softmax(logits, labels, copies, list_of, num_lists)
    return pointwise + softmax_weight * listwise, of_pointwise.add_(of_listwise, alpha=softmax_weight)


@torch.no_grad()
def heads_loss(
    logits: Tensor, labels: Tensor, kinds: Tensor, copies: Tensor, corrects_fake_negatives: bool
) -> tuple[Tensor, Tensor]:
    """Return the mean BCE over all labels that are told, 0 where none is, and the gradient of the logits, (T, K).

    Args:
        logits: (T, K)
        labels: (T, K) 1, 0 or `UNTOLD`.
        kinds: (T, K) how sure each is.
        copies: (T,) for how many rows of its list each stands.
        corrects_fake_negatives: whether labels of shown lists are importance-weighted, head by head.
    """
    is_told = (labels != UNTOLD) * copies.unsqueeze(1)
    wanted = (labels == 1).to(logits.dtype)
    shares = is_told / is_told.sum().clamp(min=1.0)
    if corrects_fake_negatives:
        shares *= fake_negative_weights(logits, kinds)
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, shares, reduction="sum")
    return loss, (torch.sigmoid(logits) - wanted).mul_(shares)


@torch.no_grad()
def listwise_softmax(
    logits: Tensor, labels: Tensor, copies: Tensor, list_of: Tensor, num_lists: int
) -> tuple[Tensor, Tensor]:
    """Return `-mean over lists of log softmax(logits)[positive]`, over lists that have one, and its gradient, (T,).

    ListNet's top-one cross entropy (Cao et al. 2007, https://doi.org/10.1145/1273496.1273513); with q the share of a
    row in the positives of its list, the gradient of a logit is `softmax(logits) - q`. A row that stands for several
    counts as often in the sum below.
    """
    highest = logits.new_full((num_lists,), -torch.inf).scatter_reduce(0, list_of, logits, "amax")
    below = logits - highest[list_of]
    chances = below.exp().mul_(copies)
    sums = logits.new_zeros(num_lists).index_add(0, list_of, chances).clamp_(min=1e-30)
    positives = logits.new_zeros(num_lists).index_add(0, list_of, labels)
    has_positive = (positives > 0).to(logits.dtype)
    per_list = has_positive / has_positive.sum().clamp(min=1.0)
    shares = labels * (per_list / positives.clamp(min=1.0))[list_of]
    loss = -(shares * (below - sums.log()[list_of])).sum()
    return loss, chances.mul_((per_list / sums)[list_of]).sub_(shares)


@torch.no_grad()
def fake_negative_weights(logits: Tensor, kinds: Tensor) -> Tensor:
    """Weight labels where every shown item was taken for a negative before its positive could come.

    Importance weights of the fake negative weighted loss, Ktena et al. 2019
    (https://arxiv.org/abs/1907.06558). With p the true rate, positives on top of as many negatives are seen as
    `b(1) = p / (1 + p)`, `b(0) = 1 / (1 + p)`, so `p / b(1) = 1 + p` and `(1 - p) / b(0) = (1 - p)(1 + p)`; the model's
    own estimate stands for p and gets no gradient. The paper's positives all are `CHANGED_LABEL` and its negatives all
    `FIRST_LABEL`. A positive that came before its negative was learnt is a first word too: with any share of those the
    true rate stays the optimum. `TRUSTED_LABEL` weighs 1. (T,), (T,) -> (T,)
    """
    estimate = torch.sigmoid(logits)
    changed = 1.0 + estimate
    weights = torch.where(kinds == FIRST_LABEL, (1.0 - estimate) * changed, torch.ones_like(estimate))
    return torch.where(kinds == CHANGED_LABEL, changed, weights)


class FrequencyEstimate:
    """How often each item is the positive of a batch, from the steps between its appearances.

    `gap_i = (1 - a) gap_i + a (step - last_i)`, `q_i = 1 / gap_i`: Yi et al. 2019, "Sampling-bias-corrected neural
    modeling" (https://doi.org/10.1145/3298689.3346996), without hashing as rows never collide.

    Args:
        rate: a, how fast the estimate follows.
    """

    def __init__(self, rate: float = 0.05) -> None:
        self._rate = rate
        self.last_step: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.gap: NDArray[np.float64] = np.zeros(0)

    def observe(self, rows: NDArray[np.int64], step: int, num_items: int) -> None:
        """Count that the items `rows` (B,) were positives at `step`."""
        self._ensure(num_items, step)
        seen = np.unique(rows)
        self.gap[seen] += self._rate * (step - self.last_step[seen] - self.gap[seen])
        self.last_step[seen] = step

    def per_step(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the expected appearances a step of items that were observed, (C,)."""
        return 1.0 / np.maximum(self.gap[rows], 1.0)

    def _ensure(self, num_items: int, step: int) -> None:
        missing = num_items - len(self.gap)
        if missing > 0:
            self.gap = np.concatenate([self.gap, np.full(missing, float(max(step, 100)))])
            self.last_step = np.concatenate([self.last_step, np.full(missing, step, dtype=np.int64)])
