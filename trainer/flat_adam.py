"""Adam over all parameters of a module laid end to end, guarded: one call an operation, not one a tensor.

A step is refused where it would not be finite, and made smaller where it would be too large. Gradient clipping by norm
sees no spike in a few coordinates, and Adam turns a small gradient behind a quiet time into a large update: so the
update itself is clipped, coordinate by coordinate, see `trainer.step_outcome.clip_factor`.
Letters: `W` weights of the module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.step_outcome import CLIP_RELATIVE

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_LARGEST = math.sqrt(torch.finfo(torch.float32).max)
"""Gradients count with their squares, as Adam keeps those: one that does not fit would freeze the weight for good."""


class FlatAdam:
    """The optimiser of one module, whose parameters become views of one tensor (Kingma & Ba 2015).

    Gradients stand in `gradients`, or in `grad` of each parameter: both are the same memory.

    Args:
        module: on its device already; its parameters must not be replaced from here on, only written to.
        learning_rate: of the next step.
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, module: nn.Module, learning_rate: float, update_clip: float = 0.0) -> None:
        parameters = dict(module.named_parameters())
        self.learning_rate = learning_rate
        self._update_clip = update_clip
        self.weights = torch.cat([parameter.detach().flatten() for parameter in parameters.values()])
        """(W,)"""
        self.flat_gradient = torch.zeros_like(self.weights)
        """(W,)"""
        self.gradients: dict[str, Tensor] = {}
        """Name of a parameter -> its part of `flat_gradient`."""
        self._first, self._second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self._steps = 0
        start = 0
        for name, parameter in parameters.items():
            part = slice(start, start + parameter.numel())
            parameter.data = self.weights[part].view_as(parameter)
            parameter.grad = self.gradients[name] = self.flat_gradient[part].view_as(parameter)
            start = part.stop

    def fault(self, loss: Tensor, of_rows: Mapping[str, Tensor] | None = None) -> str:
        """Return why a step must not be taken, empty where it may.

        Args:
            loss: of the step.
            of_rows: gradients of what is not part of the module.
        """
        named = {"all weights": self.flat_gradient, **(of_rows or {})}
        sizes = torch.stack([loss.detach().abs(), *(_largest(gradient) for gradient in named.values())]).tolist()
        if math.isfinite(sizes[0]) and all(size <= _LARGEST for size in sizes[1:]):  # False where it is NaN.
            return ""
        if not math.isfinite(sizes[0]):
            return f"the loss is {loss.item()}"
        faulty = {**self.gradients, **(of_rows or {})}
        names = [name for name, gradient in faulty.items() if not float(_largest(gradient)) <= _LARGEST]
        return f"the gradient of {', '.join(names)} is not finite, or too large for its square to be"

    @torch.no_grad()
    def step(self) -> bool:
        """Take the step of Adam, shrunk so that no weight moves by more than half its size and `update_clip`.

        Returns:
            Whether it had to be shrunk.
        """
        self._steps += 1
        gradient = self.flat_gradient
        self._first.lerp_(gradient, 1.0 - _BETA_1)
        self._second.mul_(_BETA_2).addcmul_(gradient, gradient, value=1.0 - _BETA_2)
        spread = self._second.sqrt().div_(math.sqrt(1.0 - _BETA_2**self._steps)).add_(_EPSILON)
        update = torch.div(self._first, spread).mul_(self.learning_rate / (1.0 - _BETA_1**self._steps))
        factor = self._clip_factor(update) if self._update_clip else 1.0
        self.weights.sub_(update if factor >= 1.0 else update.mul_(factor))
        return factor < 1.0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the moments for a checkpoint; the weights are saved with the module."""
        first, second = self._first.cpu().numpy().copy(), self._second.cpu().numpy().copy()
        return {"first": first, "second": second, "steps": np.array([self._steps])}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take over what `arrays` returned."""
        self._first.copy_(torch.from_numpy(arrays["first"]))
        self._second.copy_(torch.from_numpy(arrays["second"]))
        self._steps = int(arrays["steps"][0])

    def _clip_factor(self, update: Tensor) -> float:
        room = self.weights.abs().mul_(CLIP_RELATIVE).add_(self._update_clip)
        return float(room.div_(update.abs().clamp_min_(torch.finfo(update.dtype).tiny)).min())


def _largest(gradient: Tensor) -> Tensor:
    """Return the largest absolute value, NaN where there is one, 0 of nothing."""
    return gradient.detach().abs().amax() if gradient.numel() else gradient.new_zeros(())
