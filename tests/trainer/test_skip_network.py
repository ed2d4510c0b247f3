"""Gradients by hand are those of autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer import skip_network


class Network(nn.Module):
    """Five inputs, two hidden layers."""

    def __init__(self, num_outputs: int, has_bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(5, num_outputs, bias=has_bias)
        self.hidden_1, self.hidden_2 = nn.Linear(5, 7), nn.Linear(7, 4)
        self.output = nn.Linear(4, num_outputs, bias=False)


@pytest.mark.parametrize(("num_outputs", "has_bias"), [(1, True), (3, False)])
def test_outputs_and_gradients_equal_those_of_autograd(num_outputs: int, has_bias: bool) -> None:
    """Every weight, whatever stood in the gradients before."""
    torch.manual_seed(2)
    network, inputs, wanted = Network(num_outputs, has_bias), torch.randn(30, 5), torch.randn(30, num_outputs)
    hidden = torch.relu(network.hidden_2(torch.relu(network.hidden_1(inputs))))
    expected = network.linear(inputs) + network.output(hidden)
    (0.5 * (expected - wanted).square()).sum().backward()
    outputs, layers = skip_network.forward(network, inputs)
    found = {name: torch.full_like(parameter, torch.nan) for name, parameter in network.named_parameters()}
    skip_network.backward(network, layers, outputs - wanted, found)
    torch.testing.assert_close(outputs, expected.detach())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
