"""Loss and gradients of ranker, heads and places by hand: autograd's dispatch costs as much as the sums.

A test holds every gradient equal to what autograd finds.
Letters: `T` rows of all lists, `R` lists, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainer import skip_network
from trainer.heads import BIAS_SCALE, Heads
from trainer.loss import fake_negative_weights, heads_loss, ranker_loss
from trainer.model import PositionBias, Ranker
from trainer.skip_network import SkipWeights
from trainer.step_config import StepConfig


class RankerRows(NamedTuple):
    """Lists laid end to end, on the device of the weights; fields as in `ListBatch`."""

    inputs: Tensor
    """(T, F)"""
    labels: Tensor
    """(T,)"""
    weights: Tensor
    """(T,)"""
    kinds: Tensor
    """(T,)"""
    positions: Tensor
    """(T,)"""
    list_of: Tensor
    """(T,)"""
    is_served: Tensor
    """(R,)"""
    head_labels: Tensor
    """(T, K)"""
    head_kinds: Tensor
    """(T, K)"""
    copies: Tensor
    """(T,)"""


@torch.no_grad()
def ranker_step(
    ranker: Ranker,
    heads: Heads,
    places: PositionBias,
    rows: RankerRows,
    config: StepConfig,
    gradients: Mapping[str, Tensor],
) -> Tensor:
    """Return the loss of one step and write the gradients of all weights.

    Args:
        ranker: weights.
        heads: weights.
        places: weights.
        rows: what is learnt.
        config: which losses there are, and what they weigh.
        gradients: by name, `ranker.`, `heads.` and `position_bias.` before the names of the modules.
    """
    scaled = ranker.scaled(rows.inputs)  # (T, F)
    weights = _weights(ranker, heads)
    precision = torch.bfloat16 if ranker.has_mixed_precision else torch.float32
    outputs, layers = skip_network.forward(weights, scaled, precision)  # (T, 1 + K)
    skip, is_organic = rows.inputs[:, -1], (~rows.is_served)[rows.list_of].to(scaled.dtype)  # (T,)
    logits = outputs[:, 0] + ranker.skip_scale * skip + ranker.bias + ranker.organic_bias * is_organic
    if config.learns_position_bias:
        logits += places(rows.positions)
    trust = rows.weights
    if config.corrects_fake_negatives:
        trust = trust * fake_negative_weights(logits, rows.kinds)
    loss, of_logits = ranker_loss(
        logits, rows.labels, trust, rows.copies, rows.list_of, len(rows.is_served), config.softmax_weight
    )
    of_outputs = torch.zeros_like(outputs)
    of_outputs[:, 0] = of_logits
    if config.heads_weight:
        base = BIAS_SCALE * (heads.bias + heads.organic_bias * is_organic.unsqueeze(1))
        told = outputs[:, 1:] + base + heads.scale * logits.unsqueeze(1)  # (T, K)
        of_heads_loss, of_told = heads_loss(
            told, rows.head_labels, rows.head_kinds, rows.copies, config.corrects_fake_negatives
        )
        loss = loss + config.heads_weight * of_heads_loss
        of_outputs[:, 1:] = of_told.mul_(config.heads_weight)
    # What adds to all logits at once: sums of gradients against the score, nothing, organic lists and the skip.
    sums = torch.stack([logits, torch.ones_like(logits), is_organic, skip]) @ of_outputs  # (4, 1 + K)
    gradients["ranker.bias"].copy_(sums[1, :1])
    gradients["ranker.organic_bias"].copy_(sums[2, :1])
    gradients["ranker.skip_scale"].copy_(sums[3, :1])
    gradients["heads.scale"].copy_(sums[0, 1:])
    gradients["heads.bias"].copy_(BIAS_SCALE * sums[1, 1:])
    gradients["heads.organic_bias"].copy_(BIAS_SCALE * sums[2, 1:])
    places.backward(rows.positions, of_logits, gradients["position_bias.bias"])
    if not config.learns_position_bias:
        gradients["position_bias.bias"].zero_()
    found = SkipWeights(*(torch.empty_like(weight) for weight in weights[:2]), *_hidden(gradients))
    skip_network.backward(weights, layers, of_outputs, found)
    for name, both in (("linear", found.linear), ("output", found.output)):
        gradients[f"ranker.{name}.weight"].copy_(both[:1])
        gradients[f"heads.{name}.weight"].copy_(both[1:])
    return loss


def _weights(ranker: Ranker, heads: Heads) -> SkipWeights:
    """Return ranker and heads as one network of 1 + K outputs."""
    linear = torch.cat([ranker.linear.weight, heads.linear.weight])
    output = torch.cat([ranker.output.weight, heads.output.weight])
    first, second = ranker.hidden_1, ranker.hidden_2
    return SkipWeights(linear, output, first.weight, first.bias, second.weight, second.bias)


def _hidden(gradients: Mapping[str, Tensor]) -> list[Tensor]:
    return [gradients[f"ranker.hidden_{layer}.{part}"] for layer in (1, 2) for part in ("weight", "bias")]
