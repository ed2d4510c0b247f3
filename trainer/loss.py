"""What the model is trained on, formula beside the line.

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


def ranker_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, list_of: Tensor, num_lists: int, softmax_weight: float
) -> Tensor:
    """Return BCE plus `softmax_weight` times the listwise softmax.

    Args:
        logits: (T,)
        labels: (T,) 0 or 1.
        weights: (T,) of the BCE term; 0 takes a row out of it but leaves it in its list.
        list_of: (T,) int64, the list of each row.
        num_lists: R.
        softmax_weight: of the listwise part.
    """
    pointwise = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    pointwise = (weights * pointwise).sum() / weights.sum().clamp(min=1.0)
    return pointwise + softmax_weight * listwise_softmax(logits, labels, list_of, num_lists)


def heads_loss(logits: Tensor, labels: Tensor, kinds: Tensor, corrects_fake_negatives: bool) -> Tensor:
    """Return the mean BCE over all labels that are told; 0 where none is.

    Args:
        logits: (T, K)
        labels: (T, K) 1, 0 or `UNTOLD`.
        kinds: (T, K) how sure each is.
        corrects_fake_negatives: whether labels of shown lists are importance-weighted, head by head.
    """
    is_told = labels != UNTOLD
    told, wanted = logits[is_told], labels[is_told].to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(told, wanted, reduction="none")
    if corrects_fake_negatives:
        losses = losses * fake_negative_weights(told, kinds[is_told])
    return losses.sum() / max(1, len(losses))


def listwise_softmax(logits: Tensor, labels: Tensor, list_of: Tensor, num_lists: int) -> Tensor:
    """Return `-mean over lists of log softmax(logits)[positive]`, over lists that have a positive.

    ListNet's top-one cross entropy (Cao et al. 2007, https://doi.org/10.1145/1273496.1273513).
    """
    with torch.no_grad():
        highest = logits.new_full((num_lists,), -torch.inf).scatter_reduce(0, list_of, logits, "amax")
    shifted = (logits - highest[list_of]).exp()
    sums = logits.new_zeros(num_lists).index_add(0, list_of, shifted)
    log_softmax = logits - highest[list_of] - sums.clamp(min=1e-30).log()[list_of]
    positives = logits.new_zeros(num_lists).index_add(0, list_of, labels)
    share = labels / positives.clamp(min=1.0)[list_of]
    return -(share * log_softmax).sum() / (positives > 0).sum().clamp(min=1)


def fake_negative_weights(logits: Tensor, kinds: Tensor) -> Tensor:
    """Weight labels where every shown item was taken for a negative before its positive could come.

    Importance weights of the fake negative weighted loss, Ktena et al. 2019
    (https://arxiv.org/abs/1907.06558). With p the true rate, positives on top of as many negatives are seen as
    `b(1) = p / (1 + p)`, `b(0) = 1 / (1 + p)`, so `p / b(1) = 1 + p` and `(1 - p) / b(0) = (1 - p)(1 + p)`; the model's
    own estimate stands for p and gets no gradient. The paper's positives all are `CHANGED_LABEL` and its negatives all
    `FIRST_LABEL`. A positive that came before its negative was learnt is a first word too: with any share of those the
    true rate stays the optimum. `TRUSTED_LABEL` weighs 1. (T,), (T,) -> (T,)
    """
    with torch.no_grad():
        estimate = torch.sigmoid(logits)
        changed = 1.0 + estimate
        weights = torch.where(kinds == FIRST_LABEL, (1.0 - estimate) * changed, torch.ones_like(estimate))
        return torch.where(kinds == CHANGED_LABEL, changed, weights)


def sampled_softmax(scores: Tensor, log_q: Tensor, targets: Tensor) -> Tensor:
    """Return the sampled softmax with log-Q correction over in-batch and uniformly drawn candidates.

    `-log softmax(s(u, i) - log q_i)`: Bengio & Senecal 2008; mixed negatives as in Yang et al. 2020
    (https://doi.org/10.1145/3366424.3386195).

    Args:
        scores: (B, C) dot products.
        log_q: (C,) log of how often a candidate is expected in the sample.
        targets: (B,) int64 column of each row's positive; every item stands in one column only.
    """
    return functional.cross_entropy(scores - log_q, targets)


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
