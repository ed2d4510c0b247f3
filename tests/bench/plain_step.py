"""A fixed yardstick: one plain torch step, as anybody would write it first. Do not tune it."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 64
ROWS = 10_000
EMBEDDING_DIM = 16
NUM_FEATURES = 60


class PlainModel(nn.Module):
    """Two embeddings of 16 and 60 features into an MLP of 64 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(ROWS, EMBEDDING_DIM), nn.Embedding(ROWS, EMBEDDING_DIM)
        self.layers = nn.Sequential(
            nn.Linear(2 * EMBEDDING_DIM + NUM_FEATURES, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, users: Tensor, items: Tensor, features: Tensor) -> Tensor:
        """Return logits, (B,), (B,), (B, 60) -> (B,)."""
        logits: Tensor = self.layers(torch.cat([self.users(users), self.items(items), features], dim=1)).squeeze(1)
        return logits


def samples_per_s(steps: int = 300) -> float:
    """Take steps of Adagrad on drawn batches, one thread; return samples a second of CPU time."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = PlainModel()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    rows, features = torch.randint(ROWS, (2, BATCH)), torch.randn(BATCH, NUM_FEATURES)
    labels = torch.randint(2, (BATCH,)).float()
    began_s = 0.0
    for step in range(-20, steps):
        if step == 0:
            began_s = time.process_time()
        loss = functional.binary_cross_entropy_with_logits(model(rows[0], rows[1], features), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return BATCH * steps / (time.process_time() - began_s)
