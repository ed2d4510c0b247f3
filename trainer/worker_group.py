"""Several workers that take each step together: every one has its own batches, all have the same weights and rows.

A step is the one that a single process takes on the mean of the workers' losses. Dense gradients are averaged in one
flat all-reduce: all dense weights together are a few tens of thousands, so that the buckets and hooks of
`DistributedDataParallel` would have nothing to overlap. Rows of embedding tables, which it cannot reduce at all without
making them dense, travel with their gradients, and every worker takes the same row-wise step.
Letters: `T` rows of one worker.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


class WorkerGroup:
    """The workers of torch's default process group (gloo on CPU, NCCL on CUDA); all of them must take every step."""

    def __init__(self) -> None:
        self.size = distributed.get_world_size()

    def average(self, loss: Tensor, gradient: Tensor) -> Tensor:
        """Average a gradient (W,) over the workers, in place.

        A worker whose loss or gradient is not finite makes it so for all, and all refuse the step.

        Returns:
            The mean loss.
        """
        flat = torch.cat([loss.detach().reshape(1), gradient])
        distributed.all_reduce(flat)
        flat /= self.size
        gradient.copy_(flat[1:])
        return flat[0]

    def gather(self, rows: Tensor) -> Tensor:
        """Lay the rows of all workers end to end, in the order of workers; (T, ...) each, T may differ."""
        sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
        longest = max(int(size) for size in sizes)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(found, padded)
        return torch.cat([part[: int(size)] for part, size in zip(found, sizes, strict=True)])
