"""The model: two towers for retrieval and a small ranker over real-time counters.

Letters: `B` batch, `n` candidates (any leading shape), `F` ranker inputs, `L` history, `D` embedding, `M` categories,
`K` heads.
Serving builds a `Model` from the dense tensors of a version with `Model.from_dense`; embeddings stay outside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer.errors import VersionError
from trainer.heads import Heads
from trainer.input_scaling import INPUT_CLIP, VARIANCE_FLOOR

HIDDEN_SIZES = (64, 32)
HISTORY_LENGTH = 20
"""Newest items of the history that the user tower averages."""
HISTORY_DECAY = 0.85
"""Weight of an item against the next newer one."""
HISTORY_WEIGHTS: NDArray[np.float32] = (HISTORY_DECAY ** np.arange(HISTORY_LENGTH)).astype(np.float32)
"""Of the newest items that are known, newest first."""
MAX_POSITIONS = 64
"""Places of a list with a bias of their own; those behind share the last one."""
_FIRST_BIAS, _FIRST_ORGANIC_BIAS = -2.0, -3.0
"""Log odds to begin with: a tenth of what is shown is wanted, and one of two hundred candidates of an organic list.
Learnt from zero they would cost the first thousand steps."""
_POSITION_SCALE = 10.0
"""Adam's steps are of one size: places, log odds apart, must not come after all the ranker's inputs have spoken."""
_STATISTICS_MEMORY = 50_000.0
"""Rows after which the running mean and variance forget as fast as they learn."""


class TwoTower(nn.Module):
    """User and item vectors whose dot product says how well they fit.

    Args:
        embedding_dim: D.
    """

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.history_projection = nn.Linear(embedding_dim, embedding_dim)
        nn.init.eye_(self.history_projection.weight)
        nn.init.zeros_(self.history_projection.bias)

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self.history_projection.in_features

    def item_vectors(self, item_rows: Tensor, category_rows: Tensor, categories: Tensor, starts: Tensor) -> Tensor:
        """Add an item's own row and the mean of its categories' rows, so that new items are placed by content.

        Args:
            item_rows: (n, D), zeros for an item without a row.
            category_rows: (K, D)
            categories: (any,) int64 rows of `category_rows`, those of all items end to end.
            starts: (n,) int64 where an item's categories begin; they end where the next one's begin.

        Returns:
            (n, D)
        """
        return item_rows + functional.embedding_bag(categories, category_rows, starts, mode="mean")

    def history_weights(self, is_used: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh the items of histories by recency; those that count add up to 1.

        Args:
            is_used: (B, L) float32, newest first, 0 where the history ends, or an item was not liked or has no vector.

        Returns:
            Weights (B, L) and whether there is a history (B, 1), both float32. The user's vector is the user's own row
            plus, with a history, the projected mean of the items' vectors.
        """
        length = is_used.shape[1]
        weights = is_used * HISTORY_DECAY ** torch.arange(length, device=is_used.device, dtype=is_used.dtype)  # (B, L)
        sums = weights.sum(dim=1, keepdim=True)
        return weights / sums.clamp(min=1e-6), (sums > 0).to(is_used.dtype)

    def projection(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weight (D, D) and bias (D,) of the history's projection, for `user_vector`."""
        layer = self.history_projection
        return layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()


def user_vector(
    projection: tuple[NDArray[np.float32], NDArray[np.float32]],
    user_row: NDArray[np.float32] | None,
    history: NDArray[np.float32],
    outcomes: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Compute one user's vector in numpy: on 20 items the dispatch of torch costs ten times the sums.

    Args:
        projection: of the tower.
        user_row: (D,), None for a user without a row.
        history: (L, D) item vectors of the history, newest first, known items only.
        outcomes: (L,) 1, 0 or -1.

    Returns:
        (D,); its dot product with `TwoTower.item_vectors` is the tower score.
    """
    weight, bias = projection
    history, outcomes = history[:HISTORY_LENGTH], outcomes[:HISTORY_LENGTH]
    weights = HISTORY_WEIGHTS[: len(history)] * (outcomes >= 0)  # (L,)
    total = weights.sum()
    if not total:
        return np.zeros(len(bias), dtype=np.float32) if user_row is None else user_row
    projected: NDArray[np.float32] = weight @ (weights @ history / total) + bias
    return projected if user_row is None else user_row + projected


class Ranker(nn.Module):
    """Scores candidates: the pre-ranker's score plus linear plus MLP, both starting at zero.

    Args:
        num_inputs: F; the last input is the pre-ranker's score.
    """

    input_mean: Tensor
    input_variance: Tensor
    input_count: Tensor

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.has_mixed_precision = False
        """Whether the hidden layers compute in bfloat16, in training only: a version knows nothing of it."""
        self.skip_scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.full((1,), _FIRST_BIAS))
        self.organic_bias = nn.Parameter(torch.full((1,), _FIRST_ORGANIC_BIAS))
        self.linear = nn.Linear(num_inputs, 1, bias=False)
        self.hidden_1 = nn.Linear(num_inputs, HIDDEN_SIZES[0])
        self.hidden_2 = nn.Linear(HIDDEN_SIZES[0], HIDDEN_SIZES[1])
        self.output = nn.Linear(HIDDEN_SIZES[1], 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.output.weight)
        self.register_buffer("input_mean", torch.zeros(num_inputs))
        self.register_buffer("input_variance", torch.ones(num_inputs))
        self.register_buffer("input_count", torch.zeros(1))

    @property
    def num_inputs(self) -> int:
        """F."""
        return self.linear.in_features

    def forward(self, inputs: Tensor, is_organic: Tensor | None = None) -> Tensor:
        """Return logits of a positive; (..., F) float32 -> (...,).

        Args:
            inputs: (..., F)
            is_organic: (...,) bool in training: rows of lists that nobody was shown have a base rate of their own,
                which must not move the calibration of the served ones.
        """
        return self.layers(inputs, is_organic)[0]

    def layers(self, inputs: Tensor, is_organic: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does, and what heads build on: scaled inputs (..., F), last hidden layer (..., H)."""
        scaled = self.scaled(inputs)  # (..., F)
        hidden = self._hidden(scaled)
        learnt = self.linear(scaled) + self.output(hidden)  # (..., 1)
        logits: Tensor = self.skip_scale * inputs[..., -1] + self.bias + learnt.squeeze(-1)
        return logits if is_organic is None else logits + self.organic_bias * is_organic, scaled, hidden

    def scaled(self, inputs: Tensor) -> Tensor:
        """Return inputs as the layers take them, (..., F) float32."""
        return scaled_inputs(inputs, self.input_mean, self.input_variance)

    def _hidden(self, scaled: Tensor) -> Tensor:
        """Return the last hidden layer, (..., F) -> (..., H) float32."""
        if not self.has_mixed_precision:
            return torch.relu(self.hidden_2(torch.relu(self.hidden_1(scaled))))
        with torch.autocast(scaled.device.type, torch.bfloat16):
            return torch.relu(self.hidden_2(torch.relu(self.hidden_1(scaled)))).float()

    def observe_inputs(self, inputs: Tensor) -> None:
        """Fold a batch into the running mean and variance; (T, F). Only training calls this."""
        fold_statistics(self.input_mean, self.input_variance, self.input_count, inputs)


def scaled_inputs(inputs: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return inputs in standard deviations from their means, clipped; (..., F), (F,), (F,) -> (..., F)."""
    return (inputs - mean).mul_(torch.rsqrt(variance + VARIANCE_FLOOR)).clamp_(-INPUT_CLIP, INPUT_CLIP)


@torch.no_grad()
def fold_statistics(mean: Tensor, variance: Tensor, count: Tensor, inputs: Tensor) -> None:
    """Fold a batch into a running mean and variance, in place (Chan et al. 1979).

    Args:
        mean: (F,)
        variance: (F,)
        count: (1,) rows so far, no more than the memory.
        inputs: (T, F)
    """
    if len(inputs) == 0:
        return
    share = len(inputs) / (count + len(inputs))
    batch_mean = inputs.mean(dim=0)
    delta = batch_mean - mean
    batch_variance = (inputs - batch_mean).square_().mean(dim=0)  # A tenth of the time of `var` on the CPU.
    variance.mul_(1 - share).add_(share * batch_variance + share * (1 - share) * delta.square())
    mean.add_(share * delta)
    count.add_(len(inputs)).clamp_(max=_STATISTICS_MEMORY)


class PositionBias(nn.Module):
    """What a place on a list adds to the log odds of a positive, whoever stands there: for training only.

    A shallow part beside the ranker takes up how far people look (Zhao et al. 2019, "Recommending what video to watch
    next", https://doi.org/10.1145/3298689.3346997), so that the ranker need not. It is told against the mean over the
    places of rows seen so far, so that the ranker alone stays calibrated for an average place.
    """

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(MAX_POSITIONS))
        self.register_buffer("seen", torch.zeros(MAX_POSITIONS))

    @torch.no_grad()
    def observe_positions(self, positions: Tensor) -> None:
        """Count the places of rows, (T,) int64, -1 where there is none."""
        places = positions[positions >= 0].clamp(max=MAX_POSITIONS - 1)
        self.seen.index_add_(0, places, self.seen.new_ones(len(places)))
        self.seen.mul_((_STATISTICS_MEMORY / self.seen.sum().clamp(min=1.0)).clamp(max=1.0))

    def forward(self, positions: Tensor) -> Tensor:
        """Return what to add to logits; (T,) int64 -> (T,), 0 where there is no place."""
        mean = (self.seen * self.bias).sum() / self.seen.sum().clamp(min=1.0)
        added = _POSITION_SCALE * (self.bias[positions.clamp(0, MAX_POSITIONS - 1)] - mean)
        return torch.where(positions >= 0, added, torch.zeros_like(added))

    @torch.no_grad()
    def backward(self, positions: Tensor, of_logits: Tensor, of_bias: Tensor) -> None:
        """Write the gradient of the bias, (MAX_POSITIONS,), from those of the logits, (T,)."""
        of_added = _POSITION_SCALE * of_logits * (positions >= 0)
        shares = self.seen / self.seen.sum().clamp(min=1.0)
        torch.mul(shares, -of_added.sum(), out=of_bias)
        of_bias.index_add_(0, positions.clamp(0, MAX_POSITIONS - 1), of_added)


class Model(nn.Module):
    """All dense weights of a version.

    Args:
        embedding_dim: D.
        num_inputs: F.
        num_pre_ranker_inputs: P.
        first_scales: (K,) of the heads, see `Heads`.
    """

    pre_ranker: Tensor
    """(P,) weights that cut the pool to a list: numpy learns and applies them, torch only carries them."""

    def __init__(
        self, embedding_dim: int, num_inputs: int, num_pre_ranker_inputs: int, first_scales: Sequence[float] = (1.0,)
    ) -> None:
        super().__init__()
        self.register_buffer("pre_ranker", torch.zeros(num_pre_ranker_inputs))
        self.tower = TwoTower(embedding_dim)
        self.ranker = Ranker(num_inputs)
        self.heads = Heads(num_inputs, HIDDEN_SIZES[-1], first_scales)

    def dense(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of all weights and buffers by name, as a version holds them."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    @classmethod
    def from_dense(cls, dense: Mapping[str, NDArray[np.float32]]) -> Model:
        """Build a frozen model from the dense tensors of a version.

        Raises:
            VersionError: a tensor is missing, unknown or of another shape.
        """
        try:
            embedding_dim = dense["tower.history_projection.weight"].shape[0]
            num_inputs = dense["ranker.linear.weight"].shape[1]
            (num_pre_ranker_inputs,) = dense["pre_ranker"].shape
            (num_heads,) = dense["heads.bias"].shape
        except (KeyError, IndexError, ValueError) as error:
            raise VersionError("dense_tensors", f"dense weights lack {error}; they are of another model") from error
        model = cls(embedding_dim, num_inputs, num_pre_ranker_inputs, [0.0] * num_heads)
        try:
            model.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in dense.items()})
        except RuntimeError as error:
            raise VersionError("dense_tensors", f"dense weights do not fit this model: {error}") from error
        return model.requires_grad_(False).eval()

    @torch.inference_mode()
    def rank(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of a positive for candidates; (..., F) float32 -> (...,)."""
        scores: NDArray[np.float32] = self.ranker(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()
        return scores

    @torch.inference_mode()
    def head_chances(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the chance of every head for candidates; (..., F) float32 -> (..., K)."""
        layers = self.ranker.layers(torch.from_numpy(np.ascontiguousarray(inputs)))
        chances: NDArray[np.float32] = torch.sigmoid(self.heads(*layers)).numpy()
        return chances
