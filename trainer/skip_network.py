"""A linear map plus a network of two hidden layers, forward and backward without autograd.

On a few thousand rows and less autograd's dispatch costs as much as the sums. A test holds every gradient equal to
what autograd finds.
Letters: `T` rows, `F` inputs, `O` outputs, `H` and `G` units of the hidden layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SkipWeights(NamedTuple):
    """Weights, or their gradients. `out = linear x + output relu(hidden_2 relu(hidden_1 x))`."""

    linear: Tensor
    """(O, F)"""
    output: Tensor
    """(O, G)"""
    hidden_1: Tensor
    """(H, F)"""
    bias_1: Tensor
    """(H,)"""
    hidden_2: Tensor
    """(G, H)"""
    bias_2: Tensor
    """(G,)"""


class Layers(NamedTuple):
    """What the backward pass needs of the forward one."""

    inputs: Tensor
    """(T, F)"""
    first: Tensor
    """(T, H)"""
    second: Tensor
    """(T, G)"""


@torch.no_grad()
def forward(weights: SkipWeights, inputs: Tensor, precision: torch.dtype = torch.float32) -> tuple[Tensor, Layers]:
    """Return the outputs (T, O) of inputs (T, F) and the layers between; `precision` is that of the hidden layers."""
    kept, hidden = inputs.to(precision), [tensor.to(precision) for tensor in weights[2:]]
    first = torch.addmm(hidden[1], kept, hidden[0].T).relu_()
    second = torch.addmm(hidden[3], first, hidden[2].T).relu_().to(inputs.dtype)
    return torch.addmm(inputs @ weights.linear.T, second, weights.output.T), Layers(inputs, first, second)


@torch.no_grad()
def backward(weights: SkipWeights, layers: Layers, of_outputs: Tensor, gradients: SkipWeights) -> None:
    """Write the gradients of all weights, from those of the outputs, (T, O)."""
    inputs, first, second = layers
    precision = first.dtype
    torch.mm(of_outputs.T, second, out=gradients.output)
    torch.mm(of_outputs.T, inputs, out=gradients.linear)
    of_second = torch.ops.aten.threshold_backward(of_outputs @ weights.output, second, 0)  # (T, G)
    torch.sum(of_second, dim=0, out=gradients.bias_2)
    of_second = of_second.to(precision)
    gradients.hidden_2.copy_(of_second.T @ first)
    of_first = torch.ops.aten.threshold_backward(of_second @ weights.hidden_2.to(precision), first, 0)  # (T, H)
    gradients.hidden_1.copy_(of_first.T @ inputs.to(precision))
    gradients.bias_1.copy_(of_first.sum(dim=0))
