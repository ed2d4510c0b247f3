"""An optimiser's state as named arrays, so that a checkpoint needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, NDArray[np.float32]]:
    """Return the optimiser's state as flat arrays `INDEX.NAME`, for a checkpoint without pickle."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).cpu().numpy().copy()
        for index, entry in state.items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Take over what `optimizer_arrays` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = torch.from_numpy(value.copy())
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Let the next step take this rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
