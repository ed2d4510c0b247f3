"""The model of one action's values: sums, factors and a small network on top.

Sums and factors follow event by event, each after its own inputs are taken; the network takes one step a micro-batch,
after all its predictions.
Letters: `B` events of a batch, `F` inputs, `R` rows kept for replay, `M` categories of an item.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer import rating_factors, rating_tables
from trainer.guarded_step import clipped_step, fault_of, named_gradients
from trainer.model import fold_statistics, scaled_inputs
from trainer.optimizer_state import optimizer_arrays, restore_optimizer, set_learning_rate, with_prefix
from trainer.rating_factors import RatingFactors
from trainer.rating_tables import RatingTables
from trainer.samples import Event
from trainer.step_outcome import StepOutcome

NUM_INPUTS = len(rating_tables.INPUT_NAMES) + len(rating_factors.INPUT_NAMES)
_HIDDEN_SIZES = (64, 32)
_LEARNING_RATE = 2e-3
_REPLAYED, _KEPT = 16, 20_000
"""Rows learnt again at each step, out of so many recent ones; trials in LOG.md."""


class RatingHead(nn.Module):
    """Linear plus MLP over scaled inputs, both starting at even chances."""

    input_mean: Tensor
    input_variance: Tensor
    input_count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(NUM_INPUTS, 1)
        self.hidden_1 = nn.Linear(NUM_INPUTS, _HIDDEN_SIZES[0])
        self.hidden_2 = nn.Linear(_HIDDEN_SIZES[0], _HIDDEN_SIZES[1])
        self.output = nn.Linear(_HIDDEN_SIZES[1], 1, bias=False)
        for start in (self.linear.weight, self.linear.bias, self.output.weight):
            nn.init.zeros_(start)
        self.register_buffer("input_mean", torch.zeros(NUM_INPUTS))
        self.register_buffer("input_variance", torch.ones(NUM_INPUTS))
        self.register_buffer("input_count", torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits of a good one; (B, F) float32 -> (B,)."""
        scaled = scaled_inputs(inputs, self.input_mean, self.input_variance)
        hidden = torch.relu(self.hidden_2(torch.relu(self.hidden_1(scaled))))
        logits: Tensor = (self.linear(scaled) + self.output(hidden)).squeeze(-1)
        return logits


@dataclass(frozen=True)
class LearntRatings:
    """What came of the events of one action in a micro-batch."""

    chances: NDArray[np.float32]
    """(B,) as predicted before the step, of events that are scored."""
    labels: NDArray[np.float32]
    """(B,)"""
    outcome: StepOutcome


@dataclass(frozen=True)
class _Row:
    inputs: NDArray[np.float32]
    label: float
    is_learnt: bool
    is_scored: bool


class RatingModel:
    """Predicts and learns the labels that events of one action bring along.

    Args:
        seed: of weights, vectors and replay.
        action: its name is part of the seed.
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, seed: int, action: str, update_clip: float) -> None:
        self._seed, self._update_clip = seed, update_clip
        self.user_rows: dict[str, int] = {}
        self._tables = RatingTables()
        self._factors = RatingFactors(zlib.crc32(f"{seed} {action}".encode()))
        with torch.random.fork_rng(devices=[]):  # Beside the ranker's weights, whatever actions there are.
            torch.manual_seed(seed)
            self._head = RatingHead()
        self._optimizer = torch.optim.Adam(self._head.parameters(), lr=_LEARNING_RATE)
        self._kept_inputs = np.zeros((_KEPT, NUM_INPUTS), dtype=np.float32)
        self._kept_labels = np.zeros(_KEPT, dtype=np.float32)
        self._num_kept = 0
        self._batch: list[_Row] = []

    @property
    def has_batch(self) -> bool:
        """Say whether something was added since the last step."""
        return bool(self._batch)

    def inputs(
        self, user_id: str, item_row: int, categories: NDArray[np.integer[Any]], time_ms: int
    ) -> NDArray[np.float32]:
        """Return what is known before an event, (F,); a new user has the row that the first event will give it."""
        user_row = self.user_rows.get(user_id, len(self.user_rows))
        sums = self._tables.inputs(user_row, item_row, categories, time_ms)
        return np.concatenate([sums, self._factors.inputs(user_row, item_row)])

    @torch.no_grad()
    def chances(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the chances of a good one, (B, F) -> (B,)."""
        found: NDArray[np.float32] = torch.sigmoid(self._head(torch.from_numpy(inputs))).numpy()
        return found

    def add(
        self,
        event: Event,
        label: float,
        item_row: int,
        categories: NDArray[np.integer[Any]],
        is_held: bool,
        is_scored: bool,
    ) -> None:
        """Take the inputs of an event, then count it; see `RatingLearner.add`."""
        assert event.value is not None
        user_row = self.user_rows.setdefault(event.user_id, len(self.user_rows))
        inputs = self.inputs(event.user_id, item_row, categories, event.event_time_ms)
        self._batch.append(_Row(inputs, label, not is_held, is_scored))
        z = self._tables.add(user_row, item_row, categories, event.value, label, event.event_time_ms)
        if not is_held:
            self._factors.learn(user_row, item_row, z)

    def learn_batch(self, step: int, rate_factor: float) -> LearntRatings:
        """Predict all that was added since the last call, then take a step on it."""
        inputs = np.stack([row.inputs for row in self._batch])
        labels = np.array([row.label for row in self._batch], dtype=np.float32)
        is_learnt = np.array([row.is_learnt for row in self._batch])
        is_scored = np.array([row.is_scored for row in self._batch])
        self._batch = []
        chances = self.chances(inputs)
        learns = is_learnt.any()
        outcome = self._step(inputs[is_learnt], labels[is_learnt], step, rate_factor) if learns else StepOutcome()
        return LearntRatings(chances[is_scored], labels[is_scored], outcome)

    def _step(
        self, inputs: NDArray[np.float32], labels: NDArray[np.float32], step: int, rate_factor: float
    ) -> StepOutcome:
        """Take one step of Adam on new rows and drawn recent ones; a function of (seed, step) and the state."""
        head = self._head
        fold_statistics(head.input_mean, head.input_variance, head.input_count, torch.from_numpy(inputs))
        used = min(self._num_kept, _KEPT)
        drawn = np.random.default_rng((self._seed, step)).integers(max(used, 1), size=_REPLAYED if used else 0)
        rows = np.concatenate([inputs, self._kept_inputs[drawn]])
        wanted = np.concatenate([labels, self._kept_labels[drawn]])
        loss = functional.binary_cross_entropy_with_logits(head(torch.from_numpy(rows)), torch.from_numpy(wanted))
        set_learning_rate(self._optimizer, rate_factor * _LEARNING_RATE)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        fault = fault_of(loss, named_gradients(head))
        if fault:
            return StepOutcome(fault, batch={"inputs": rows, "labels": wanted})
        was_clipped = clipped_step(self._optimizer, list(head.parameters()), self._update_clip)
        places = (self._num_kept + np.arange(len(labels))) % _KEPT
        self._kept_inputs[places], self._kept_labels[places] = inputs, labels
        self._num_kept += len(labels)
        return StepOutcome(was_clipped=was_clipped)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything but user ids for a checkpoint, at a batch boundary."""
        used = min(self._num_kept, _KEPT)
        head = {f"head.{name}": tensor.numpy().copy() for name, tensor in self._head.state_dict().items()}
        return (
            head
            | {f"optimizer.{name}": array for name, array in optimizer_arrays(self._optimizer).items()}
            | {f"tables.{name}": array for name, array in self._tables.arrays().items()}
            | {f"factors.{name}": array for name, array in self._factors.arrays().items()}
            | {"kept_inputs": self._kept_inputs[:used].copy(), "kept_labels": self._kept_labels[:used].copy()}
            | {"num_kept": np.array([self._num_kept])}
        )

    def restore(self, user_ids: list[str], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over user ids in row order and what `arrays` returned."""
        self.user_rows = {user_id: row for row, user_id in enumerate(user_ids)}
        head = with_prefix(arrays, "head.")
        self._head.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in head.items()})
        restore_optimizer(self._optimizer, with_prefix(arrays, "optimizer."))
        self._tables.restore(with_prefix(arrays, "tables."))
        self._factors.restore(with_prefix(arrays, "factors."))
        self._kept_inputs[: len(arrays["kept_inputs"])] = arrays["kept_inputs"]
        self._kept_labels[: len(arrays["kept_labels"])] = arrays["kept_labels"]
        self._num_kept = int(arrays["num_kept"][0])
