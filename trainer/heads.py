"""Heads: the chance of each thing that a user may do with a shown item, from the ranker's own layers.

Letters: `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BIAS_SCALE = 10.0
"""Adam's steps are of one size: base rates, log odds apart, must not come after all the inputs have spoken."""


class Heads(nn.Module):
    """Linear heads on the inputs and the last hidden layer that the ranker shares (Caruana 1997, "Multitask Learning").

    Each starts from the ranker's score, so that a head with few labels says what all labels together say. That score
    gets no gradient from here: it is calibrated for itself.

    Args:
        num_inputs: F.
        hidden_size: of the ranker's last layer.
        first_scales: (K,) what the ranker's score counts for at first: 1 for what speaks for an item, 0 for what
            speaks against it.
    """

    def __init__(self, num_inputs: int, hidden_size: int, first_scales: Sequence[float]) -> None:
        super().__init__()
        num_heads = len(first_scales)
        self.scale = nn.Parameter(torch.tensor(first_scales, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(num_heads))
        self.organic_bias = nn.Parameter(torch.zeros(num_heads))
        self.linear = nn.Linear(num_inputs, num_heads, bias=False)
        self.output = nn.Linear(hidden_size, num_heads, bias=False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.output.weight)

    @property
    def num_heads(self) -> int:
        """K."""
        return len(self.bias)

    def forward(self, score: Tensor, scaled: Tensor, hidden: Tensor, is_organic: Tensor | None = None) -> Tensor:
        """Return logits of every head, (..., K).

        Args:
            score: (...,) logits of the ranker, with everything that training adds to them.
            scaled: (..., F) scaled inputs.
            hidden: (..., H) last hidden layer.
            is_organic: (...,) bool in training: lists that nobody was shown have base rates of their own.
        """
        learnt: Tensor = self.linear(scaled) + self.output(hidden) + BIAS_SCALE * self.bias
        logits = learnt + self.scale * score.detach().unsqueeze(-1)
        return logits if is_organic is None else logits + BIAS_SCALE * self.organic_bias * is_organic.unsqueeze(-1)
