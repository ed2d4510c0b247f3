"""Gradients by hand are those of autograd."""

from __future__ import annotations

import pytest
import torch

from trainer import skip_network
from trainer.skip_network import SkipWeights


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_outputs_and_gradients_equal_those_of_autograd(num_outputs: int) -> None:
    """Every weight, whatever stood in the gradients before."""
    torch.manual_seed(2)
    shapes = (num_outputs, 5), (num_outputs, 4), (7, 5), (7,), (4, 7), (4,)
    weights = SkipWeights(*(torch.randn(shape).requires_grad_() for shape in shapes))
    inputs, wanted = torch.randn(30, 5), torch.randn(30, num_outputs)
    first = torch.relu(inputs @ weights.hidden_1.T + weights.bias_1)
    second = torch.relu(first @ weights.hidden_2.T + weights.bias_2)
    expected = inputs @ weights.linear.T + second @ weights.output.T
    (0.5 * (expected - wanted).square()).sum().backward()  # type: ignore[no-untyped-call]
    outputs, layers = skip_network.forward(weights, inputs)
    found = SkipWeights(*(torch.full(shape, torch.nan) for shape in shapes))
    skip_network.backward(weights, layers, outputs - wanted, found)
    torch.testing.assert_close(outputs, expected.detach())
    for gradient, weight in zip(found, weights, strict=True):
        torch.testing.assert_close(gradient, weight.grad)


def test_hidden_layers_may_compute_in_half_the_bits() -> None:
    """Outputs and gradients are float32 and stay near."""
    torch.manual_seed(3)
    weights = SkipWeights(*(0.3 * torch.randn(shape) for shape in ((2, 5), (2, 4), (7, 5), (7,), (4, 7), (4,))))
    inputs = torch.randn(30, 5)
    found = []
    for precision in (torch.float32, torch.bfloat16):
        outputs, layers = skip_network.forward(weights, inputs, precision)
        gradients = SkipWeights(*(torch.empty_like(weight) for weight in weights))
        skip_network.backward(weights, layers, outputs, gradients)
        found.append((outputs, *gradients))
    for exact, mixed in zip(*found, strict=True):
        assert mixed.dtype == torch.float32
        torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.05 * float(exact.abs().max()))
    assert not torch.equal(found[0][0], found[1][0])
