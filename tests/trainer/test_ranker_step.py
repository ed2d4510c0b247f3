"""The ranker's gradients by hand are those of autograd over the plain formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.loss import UNTOLD, fake_negative_weights
from trainer.model import Model, PositionBias, Ranker
from trainer.ranker_step import RankerRows, ranker_step
from trainer.step_config import StepConfig

INPUTS, HEADS = 6, 3
SIZES = (5, 1, 8, 4)
"""Of the lists; the third has no positive, the last has two."""


def drawn_rows() -> RankerRows:
    """Served and organic lists, labels of every kind and heads of which some rows say nothing."""
    count = sum(SIZES)
    list_of = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    labels = torch.zeros(count)
    labels[[1, 5, 14, 16]] = 1.0
    is_served = torch.tensor([True, False, True, False])
    positions = torch.where(is_served[list_of], torch.arange(count) * 5, -1)
    return RankerRows(
        inputs=2.0 * torch.randn(count, INPUTS),
        labels=labels,
        weights=torch.rand(count) * (torch.rand(count) > 0.2),
        kinds=torch.randint(3, (count,)),
        positions=positions,
        list_of=list_of,
        is_served=is_served,
        head_labels=torch.randint(UNTOLD, 2, (count, HEADS)),
        head_kinds=torch.randint(3, (count, HEADS)),
        copies=1.0 + 2.0 * torch.rand(count),
    )


def plain_loss(modules: nn.ModuleDict, rows: RankerRows, config: StepConfig) -> Tensor:
    """All losses, written for reading."""
    ranker, heads, places = modules["ranker"], modules["heads"], modules["position_bias"]
    assert isinstance(ranker, Ranker)
    is_organic = ~rows.is_served[rows.list_of]
    logits, scaled, hidden = ranker.layers(rows.inputs, is_organic)
    if config.learns_position_bias:
        logits = logits + places(rows.positions)
    trust = rows.weights
    if config.corrects_fake_negatives:
        trust = trust * fake_negative_weights(logits.detach(), rows.kinds)
    losses = functional.binary_cross_entropy_with_logits(logits, rows.labels, reduction="none")
    loss = (trust * losses).sum() / trust.sum().clamp(min=1.0)
    listwise = []
    for number in range(len(SIZES)):
        own = rows.list_of == number
        if rows.labels[own].any():
            among = torch.logsumexp(logits[own] + rows.copies[own].log(), dim=0)
            listwise.append(among - logits[own][rows.labels[own] > 0].mean())
    loss = loss + config.softmax_weight * torch.stack(listwise).mean()
    told = heads(logits, scaled, hidden, is_organic)
    is_told, wanted = rows.head_labels != UNTOLD, (rows.head_labels == 1).float()
    of_heads = functional.binary_cross_entropy_with_logits(told, wanted, reduction="none")
    if config.corrects_fake_negatives:
        of_heads = of_heads * fake_negative_weights(told.detach(), rows.head_kinds)
    told_copies = is_told * rows.copies.unsqueeze(1)
    return loss + config.heads_weight * (told_copies * of_heads).sum() / told_copies.sum()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"corrects_fake_negatives": False},
        {"learns_position_bias": False},
        {"softmax_weight": 0.0},
        {"heads_weight": 0.0},
    ],
    ids=lambda changes: ",".join(changes) or "as shipped",
)
def test_gradients_equal_those_of_autograd(changes: dict[str, float]) -> None:
    """Of every weight of ranker, heads and places, whatever stood in the gradients before."""
    torch.manual_seed(5)
    config = replace(StepConfig(), **changes)  # type: ignore[arg-type]
    model, places, rows = Model(4, INPUTS, 1, [1.0, 0.5, 0.0]), PositionBias(), drawn_rows()
    modules = nn.ModuleDict({"ranker": model.ranker, "heads": model.heads, "position_bias": places})
    for parameter in modules.parameters():
        nn.init.normal_(parameter, std=0.4)
    places.observe_positions(rows.positions)
    model.ranker.observe_inputs(rows.inputs)
    expected = plain_loss(modules, rows, config)
    expected.backward()  # type: ignore[no-untyped-call]
    found = {name: torch.full_like(parameter, torch.nan) for name, parameter in modules.named_parameters()}
    loss = ranker_step(model.ranker, model.heads, places, rows, config, found)
    torch.testing.assert_close(loss, expected.detach())
    for name, parameter in modules.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], wanted, msg=name)
