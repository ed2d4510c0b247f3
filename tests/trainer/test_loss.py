"""Every formula against a few lines of plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.loss import (
    CHANGED_LABEL,
    FIRST_LABEL,
    TRUSTED_LABEL,
    UNTOLD,
    FrequencyEstimate,
    fake_negative_weights,
    heads_loss,
    listwise_softmax,
    ranker_loss,
)

LOGITS = torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0])
LABELS = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
ONES = torch.ones(5)
LIST_OF = torch.tensor([0, 0, 0, 1, 1])


def test_softmax_counts_only_lists_with_a_positive() -> None:
    """The second list has no positive, so the loss is that of the first."""
    logits = LOGITS.numpy()[:3].astype(np.float64)
    expected = np.log(np.exp(logits).sum()) - logits[1]
    assert np.isclose(listwise_softmax(LOGITS, LABELS, ONES, LIST_OF, 2)[0].item(), expected)


def test_softmax_without_any_positive_is_zero() -> None:
    """A batch of impressions alone has no listwise part."""
    loss, gradient = listwise_softmax(LOGITS, torch.zeros(5), ONES, LIST_OF, 2)
    assert loss.item() == 0.0
    assert gradient.tolist() == [0.0] * 5


def test_ranker_loss_is_weighted_bce_plus_softmax() -> None:
    """Rows of weight zero stay in their list but not in BCE."""
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0])
    chances = 1.0 / (1.0 + np.exp(-LOGITS.numpy().astype(np.float64)))
    losses = -np.log(np.where(LABELS.numpy() > 0, chances, 1.0 - chances))
    pointwise = (weights.numpy() * losses).sum() / weights.numpy().sum()
    listwise = listwise_softmax(LOGITS, LABELS, ONES, LIST_OF, 2)[0].item()
    assert np.isclose(ranker_loss(LOGITS, LABELS, weights, ONES, LIST_OF, 2, 0.3)[0].item(), pointwise + 0.3 * listwise)


def test_a_row_that_stands_for_three_counts_as_three() -> None:
    """In the softmax and in the loss of heads, as the row written three times."""
    copies, repeated = torch.tensor([1.0, 1.0, 3.0, 1.0, 1.0]), torch.tensor([0, 1, 2, 2, 2, 3, 4])
    loss, gradient = listwise_softmax(LOGITS, LABELS, copies, LIST_OF, 2)
    whole, of_whole = listwise_softmax(LOGITS[repeated], LABELS[repeated], torch.ones(7), LIST_OF[repeated], 2)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient, torch.zeros(5).index_add(0, repeated, of_whole))
    heads, told = LOGITS.unsqueeze(1), LABELS.unsqueeze(1)
    loss, gradient = heads_loss(heads, told, torch.zeros_like(told), copies, True)
    whole, of_whole = heads_loss(heads[repeated], told[repeated], torch.zeros(7, 1), torch.ones(7), True)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient, torch.zeros(5, 1).index_add(0, repeated, of_whole))


@pytest.mark.parametrize("share_first", [0.0, 0.3, 1.0])
def test_fake_negative_weights_make_the_true_rate_the_optimum(share_first: float) -> None:
    """The gradient at the true rate is zero, however many positives come before their negative was learnt."""
    rate = 0.2
    logit = torch.full((3,), float(np.log(rate / (1.0 - rate))), requires_grad=True)
    labels, kinds = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([CHANGED_LABEL, FIRST_LABEL, FIRST_LABEL])
    seen = rate * share_first
    shares = torch.tensor([rate - seen, seen, 1.0 - seen])  # Of all shown items.
    weights = fake_negative_weights(logit, kinds)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logit, labels, reduction="none")
    (shares * weights * losses).sum().backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None
    assert abs(logit.grad.sum().item()) < 1e-6


def test_fake_negative_weights_are_those_of_the_paper() -> None:
    """1 + p for a positive that was a negative before, (1 - p)(1 + p) for a negative, 1 where a label stays."""
    chances = torch.tensor([0.25, 0.25, 0.25])
    weights = fake_negative_weights(torch.logit(chances), torch.tensor([CHANGED_LABEL, FIRST_LABEL, TRUSTED_LABEL]))
    assert np.allclose(weights.numpy(), [1.25, 0.75 * 1.25, 1.0])


def test_heads_loss_is_the_mean_over_what_is_told() -> None:
    """Two of three labels are told; where none is, there is no loss."""
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1, UNTOLD], [0, UNTOLD]])
    kinds = torch.tensor([[TRUSTED_LABEL, FIRST_LABEL], [FIRST_LABEL, FIRST_LABEL]])
    chances = 1.0 / (1.0 + np.exp(-np.array([0.5, 2.0])))
    losses = -np.log([chances[0], 1.0 - chances[1]])
    assert np.isclose(heads_loss(logits, labels, kinds, ONES[:2], False)[0].item(), losses.mean())
    losses[1] *= 1.0 - chances[1] ** 2
    assert np.isclose(heads_loss(logits, labels, kinds, ONES[:2], True)[0].item(), losses.mean())
    assert heads_loss(logits, torch.full((2, 2), UNTOLD), kinds, ONES[:2], True)[0].item() == 0.0


def test_frequency_estimate_finds_the_rate() -> None:
    """An item seen every fourth step is expected a quarter of the time; one never seen hardly ever."""
    estimate = FrequencyEstimate()
    for step in range(1, 801):
        estimate.observe(np.array([0, 1] if step % 4 == 0 else [1]), step, num_items=3)
    often, always, never = estimate.per_step(np.array([0, 1, 2]))
    assert np.isclose(often, 0.25, rtol=0.1)
    assert np.isclose(always, 1.0, rtol=0.1)
    assert never <= 0.01
