"""A linear map plus a network of two hidden layers, forward and backward without autograd.

On a few thousand rows and less autograd's dispatch costs as much as the sums. A test holds every gradient equal to
what autograd finds.
Letters: `T` rows, `F` inputs, `O` outputs, `H` units of a hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class SkipNetwork(Protocol):
    """What a module must have to be learnt here; other parameters are its own affair."""

    linear: nn.Linear
    """F -> O"""
    hidden_1: nn.Linear
    hidden_2: nn.Linear
    output: nn.Linear
    """H -> O, without bias."""


class Layers(NamedTuple):
    """What the backward pass needs of the forward one."""

    inputs: Tensor
    """(T, F)"""
    first: Tensor
    """(T, H)"""
    second: Tensor
    """(T, H)"""


@torch.no_grad()
def forward(network: SkipNetwork, inputs: Tensor) -> tuple[Tensor, Layers]:
    """Return the outputs (T, O) of inputs (T, F) and the layers between."""
    first = torch.addmm(network.hidden_1.bias, inputs, network.hidden_1.weight.T).relu_()
    second = torch.addmm(network.hidden_2.bias, first, network.hidden_2.weight.T).relu_()
    linear = network.linear
    out = inputs @ linear.weight.T if linear.bias is None else torch.addmm(linear.bias, inputs, linear.weight.T)
    return out.addmm_(second, network.output.weight.T), Layers(inputs, first, second)


@torch.no_grad()
def backward(network: SkipNetwork, layers: Layers, of_outputs: Tensor, gradients: Mapping[str, Tensor]) -> None:
    """Write the gradients of all weights by name, from those of the outputs, (T, O)."""
    torch.mm(of_outputs.T, layers.second, out=gradients["output.weight"])
    torch.mm(of_outputs.T, layers.inputs, out=gradients["linear.weight"])
    if network.linear.bias is not None:
        torch.sum(of_outputs, dim=0, out=gradients["linear.bias"])
    of_second = torch.ops.aten.threshold_backward(of_outputs @ network.output.weight, layers.second, 0)  # (T, H)
    torch.mm(of_second.T, layers.first, out=gradients["hidden_2.weight"])
    torch.sum(of_second, dim=0, out=gradients["hidden_2.bias"])
    of_first = torch.ops.aten.threshold_backward(of_second @ network.hidden_2.weight, layers.first, 0)
    torch.mm(of_first.T, layers.inputs, out=gradients["hidden_1.weight"])
    torch.sum(of_first, dim=0, out=gradients["hidden_1.bias"])
