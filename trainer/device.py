"""Where tensors live: the same code on CPU and CUDA."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def prepare_device(device: str) -> None:
    """On CUDA let torch choose deterministic algorithms only: a restart must repeat every bit.

    Call it before anything runs on the device: cuBLAS reads its workspace's size once.
    """
    if torch.device(device).type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def on_device(array: NDArray[np.generic], device: str) -> Tensor:
    """Return an array on a device: on the CPU the same memory, on CUDA a copy from pinned memory nobody waits for."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if torch.device(device).type != "cuda":
        return tensor
    # torch keeps the pinned buffer until the copy is done.
    return tensor.pin_memory().to(device, non_blocking=True)
