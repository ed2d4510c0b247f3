"""One step of Adam on a module: refused where it would not be finite, made smaller where it would be too large.

Gradient clipping by norm sees no spike in a few coordinates, and Adam turns a small gradient behind a quiet time into a
large update: so the update itself is clipped, coordinate by coordinate, see `trainer.step_outcome.clip_factor`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.step_outcome import CLIP_RELATIVE


def fault_of(loss: Tensor, gradients: Mapping[str, Tensor]) -> str:
    """Return why a step must not be taken, empty where it may; gradients count with their squares, as Adam keeps those.

    A square that does not fit would stand in Adam's second moment for good and freeze the weight.
    """
    fits = [torch.isfinite(loss).all(), *(torch.isfinite(tensor.square()).all() for tensor in gradients.values())]
    if bool(torch.stack(fits).all()):
        return ""
    if not bool(fits[0]):
        return f"the loss is {loss.item()}"
    faulty = [name for name, fit in zip(gradients, fits[1:], strict=True) if not bool(fit)]
    return f"the gradient of {', '.join(faulty)} is not finite, or too large for its square to be"


def named_gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the gradients that the last backward pass left, by parameter."""
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


@torch.no_grad()
def clipped_step(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], absolute: float) -> bool:
    """Take the optimiser's step, shrunk so that no parameter moves by more than half its size and `absolute`.

    Args:
        optimizer: of these parameters.
        parameters: what it changes.
        absolute: room of a weight that is 0; 0 switches clipping off.

    Returns:
        Whether it had to be shrunk. Where not, not a bit differs from the optimiser's own step.
    """
    if not absolute:
        optimizer.step()
        return False
    before = torch.cat([parameter.flatten() for parameter in parameters])
    optimizer.step()
    update = torch.cat([parameter.flatten() for parameter in parameters]) - before
    room = CLIP_RELATIVE * before.abs() + absolute
    factor = float((room / update.abs().clamp_min(torch.finfo(update.dtype).tiny)).min())
    if factor >= 1.0:
        return False
    shrunk = torch.split(before + factor * update, [parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, shrunk, strict=True):
        parameter.copy_(part.view_as(parameter))
    return True
