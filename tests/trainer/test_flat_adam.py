"""The flat optimiser is Adam, refuses what is not finite, and shrinks what is too large."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from trainer.flat_adam import FlatAdam
from trainer.step_outcome import clip_factor


def module() -> nn.Module:
    """Two layers."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def take_step(optimizer: FlatAdam, network: nn.Module, step: int) -> bool:
    """Learn drawn inputs by autograd, which adds to the flat gradient."""
    optimizer.flat_gradient.zero_()
    inputs = torch.from_numpy(np.random.default_rng(step).normal(size=(8, 3)).astype(np.float32))
    network(inputs).square().mean().backward()
    return optimizer.step()


def test_steps_equal_those_of_torch() -> None:
    """Thirty steps at two rates."""
    own, others = module(), module()
    flat, plain = FlatAdam(own, 1e-2, update_clip=0.5), torch.optim.Adam(others.parameters(), lr=1e-2)
    for step in range(30):
        flat.learning_rate = plain.param_groups[0]["lr"] = 1e-2 if step < 15 else 4e-2
        assert not take_step(flat, own, step)
        for parameter, mine in zip(others.parameters(), own.parameters(), strict=True):
            parameter.grad = mine.grad.clone() if mine.grad is not None else None
        plain.step()
    for parameter, mine in zip(others.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter, rtol=1e-6, atol=1e-7)


def test_restored_optimiser_goes_on_bit_for_bit() -> None:
    """Moments and step count are all there is."""
    first = module()
    before = FlatAdam(first, 1e-2)
    for step in range(5):
        take_step(before, first, step)
    second = deepcopy(first)
    after = FlatAdam(second, 1e-2)
    after.restore(before.arrays())
    take_step(before, first, 5)
    take_step(after, second, 5)
    assert torch.equal(before.weights, after.weights)


def test_shrunk_update_keeps_its_direction() -> None:
    """One factor for all weights, as in numpy."""
    network = nn.Linear(3, 1, bias=False)
    optimizer = FlatAdam(network, 1.0, update_clip=0.02)
    optimizer.weights.copy_(torch.tensor([0.1, -2.0, 0.0]))
    before, gradient = optimizer.weights.numpy().copy(), np.array([0.02, -0.5, 0.4], dtype=np.float32)
    optimizer.flat_gradient.copy_(torch.from_numpy(gradient))
    update = gradient / (np.abs(gradient) + 1e-8)  # Adam's first step.
    assert optimizer.step()
    factor = clip_factor(before, update, 0.02)
    assert factor == pytest.approx(0.02)
    np.testing.assert_allclose(network.weight.detach().numpy()[0], before - factor * update, rtol=1e-5)


def test_gradient_whose_square_overflows_is_a_fault() -> None:
    """Adam would keep an infinite second moment and never move that weight again; faults are named."""
    optimizer = FlatAdam(module(), 1e-2)
    loss = torch.tensor(0.5)
    assert optimizer.fault(loss, {"rows": torch.ones(2), "no rows": torch.ones(0)}) == ""
    assert optimizer.fault(torch.tensor(torch.inf)) == "the loss is inf"
    assert "gradient of rows is not finite" in optimizer.fault(loss, {"rows": torch.tensor([1.0, torch.nan])})
    optimizer.gradients["2.bias"].fill_(1e20)
    assert "gradient of 2.bias is not finite, or too large" in optimizer.fault(loss)
