"""The model of one action's values: sums, factors and a small network on top.

Sums and factors follow event by event at the end of a micro-batch, each after its own inputs are taken; then the
network takes one step, after all its predictions.
Letters: `B` events of a batch, `F` inputs, `R` rows kept for replay, `M` categories of an item.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer import rating_factors, rating_tables, skip_network
from trainer.flat_adam import FlatAdam
from trainer.model import fold_statistics, scaled_inputs
from trainer.named_arrays import with_prefix
from trainer.rating_events import RatingEvents, count_ratings
from trainer.rating_factors import RatingFactors
from trainer.rating_tables import RatingTables
from trainer.samples import Event
from trainer.skip_network import Layers, SkipWeights
from trainer.step_outcome import StepOutcome

NUM_INPUTS = len(rating_tables.INPUT_NAMES) + len(rating_factors.INPUT_NAMES)
_HIDDEN_SIZES = (64, 32)
_LEARNING_RATE = 2e-3
_STEP_EVENTS = 16
"""Events of a step, at most."""
_REPLAYED, _KEPT = 16, 20_000
"""Rows learnt again at each step, out of so many recent ones; trials in LOG.md."""


_WEIGHTS = (*("linear.weight", "output.weight"), *(f"hidden_{n}.{part}" for n in (1, 2) for part in ("weight", "bias")))
"""Names of the network's weights in the order of `SkipWeights`."""


class RatingHead(nn.Module):
    """Linear plus MLP over scaled inputs, both starting at even chances."""

    input_mean: Tensor
    input_variance: Tensor
    input_count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.linear = nn.Linear(NUM_INPUTS, 1, bias=False)
        self.hidden_1 = nn.Linear(NUM_INPUTS, _HIDDEN_SIZES[0])
        self.hidden_2 = nn.Linear(_HIDDEN_SIZES[0], _HIDDEN_SIZES[1])
        self.output = nn.Linear(_HIDDEN_SIZES[1], 1, bias=False)
        for start in (self.linear.weight, self.output.weight):
            nn.init.zeros_(start)
        self.register_buffer("input_mean", torch.zeros(NUM_INPUTS))
        self.register_buffer("input_variance", torch.ones(NUM_INPUTS))
        self.register_buffer("input_count", torch.zeros(1))
        self.weights = SkipWeights(*(self.get_parameter(name) for name in _WEIGHTS))
        """Of the network; `FlatAdam` and `load_state_dict` write to these tensors and replace none of them."""

    @torch.no_grad()
    def layers(self, inputs: NDArray[np.float32]) -> tuple[Tensor, Layers]:
        """Return logits of a good one, (B, F) -> (B, 1), and what the backward pass needs."""
        scaled = scaled_inputs(torch.from_numpy(inputs), self.input_mean, self.input_variance)
        logits, layers = skip_network.forward(self.weights, scaled)
        return logits.add_(self.bias), layers


@dataclass(frozen=True)
class LearntRatings:
    """What came of the events of one action in a micro-batch."""

    chances: NDArray[np.float32]
    """(B,) as predicted before the step, of events that are scored."""
    labels: NDArray[np.float32]
    """(B,)"""
    outcomes: list[StepOutcome]
    """Of the steps taken."""


@dataclass(frozen=True)
class _Added:
    """An event of the current micro-batch, not counted yet."""

    user_row: int
    item_row: int
    categories: NDArray[np.integer[Any]]
    value: float
    label: float
    time_ms: int
    is_held: bool
    is_scored: bool


class RatingModel:
    """Predicts and learns the labels that events of one action bring along.

    Args:
        seed: of weights, vectors and replay.
        action: its name is part of the seed.
        update_clip: see `trainer.step_outcome.clip_factor`; 0 is off.
    """

    def __init__(self, seed: int, action: str, update_clip: float) -> None:
        self._seed = seed
        self.user_rows: dict[str, int] = {}
        self._tables = RatingTables()
        self._factors = RatingFactors(zlib.crc32(f"{seed} {action}".encode()))
        with torch.random.fork_rng(devices=[]):  # Beside the ranker's weights, whatever actions there are.
            torch.manual_seed(seed)
            self._head = RatingHead()
        self._optimizer = FlatAdam(self._head, _LEARNING_RATE, update_clip)
        self._gradients = SkipWeights(*(self._optimizer.gradients[name] for name in _WEIGHTS))
        self._kept_inputs = np.zeros((_KEPT, NUM_INPUTS), dtype=np.float32)
        self._kept_labels = np.zeros(_KEPT, dtype=np.float32)
        self._num_kept = 0
        self._batch: list[_Added] = []

    @property
    def has_batch(self) -> bool:
        """Say whether something was added since the last step."""
        return bool(self._batch)

    def inputs(
        self, user_id: str, item_row: int, categories: NDArray[np.integer[Any]], time_ms: int
    ) -> NDArray[np.float32]:
        """Return what is known before an event, (F,); a new user has the row that the first event will give it."""
        assert not self._batch, "what was added is counted at the end of the batch"
        user_row = self.user_rows.get(user_id, len(self.user_rows))
        sums = self._tables.inputs(user_row, item_row, categories, time_ms)
        return np.concatenate([sums, self._factors.inputs(user_row, item_row)])

    def chances(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the chances of a good one, (B, F) -> (B,)."""
        logits, _ = self._head.layers(inputs)
        found: NDArray[np.float32] = logits.squeeze(1).sigmoid_().numpy()
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
        """Note an event, to be counted with its batch; see `RatingLearner.add`."""
        assert event.value is not None
        user_row = self.user_rows.setdefault(event.user_id, len(self.user_rows))
        own = categories.copy()  # A view of a table that may change before the batch ends.
        self._batch.append(_Added(user_row, item_row, own, event.value, label, event.event_time_ms, is_held, is_scored))

    def forget_user(self, user_id: str) -> None:
        """Forget a user; the row stays, empty, under a name that no user can have."""
        row = self.user_rows.get(user_id)
        if row is not None:
            renamed = {user_id: f"\x00{row}"}
            self.user_rows = {renamed.get(known, known): place for known, place in self.user_rows.items()}
            # Sums of items and categories keep what they are; ratings kept for replay are of a row that is nobody's.
            sums = self._tables.reserved(row, 0, np.zeros(0, dtype=np.int32))
            sums.users[row], sums.last_ms[row] = 0.0, 0
            sums.pairs[(sums.pair_keys >= 0) & (sums.pair_keys >> 20 == row)] = 0.0
            self._factors.reserved(row, 0).users[row] = 0.0

    def learn_batch(self, step: int, rate_factor: float) -> LearntRatings:
        """Predict all that was added since the last call, each from what came before it, and take steps on it.

        A step is on `_STEP_EVENTS` of them: the network learns as fast when a trainer takes larger micro-batches.
        """
        batch, self._batch = self._batch, []
        inputs = self._counted(batch)
        labels = np.array([added.label for added in batch], dtype=np.float32)
        is_learnt = np.array([not added.is_held for added in batch])
        is_scored = np.array([added.is_scored for added in batch])
        random = np.random.default_rng((self._seed, step))
        chances, outcomes = np.empty(len(batch), dtype=np.float32), []
        self._optimizer.learning_rate = rate_factor * _LEARNING_RATE
        for start in range(0, len(batch), _STEP_EVENTS):
            part = slice(start, start + _STEP_EVENTS)
            chances[part] = self.chances(inputs[part])
            if (learnt := is_learnt[part]).any():
                outcomes.append(self._step(inputs[part][learnt], labels[part][learnt], random))
        return LearntRatings(chances[is_scored], labels[is_scored], outcomes)

    def _counted(self, batch: Sequence[_Added]) -> NDArray[np.float32]:
        """Count events; return the inputs of each as of just before it, (B, F)."""
        events = RatingEvents(
            np.array([added.user_row for added in batch]),
            np.array([added.item_row for added in batch]),
            np.array([added.categories for added in batch], dtype=np.int32),
            np.array([added.value for added in batch], dtype=np.float64),
            np.array([added.label for added in batch], dtype=np.float64),
            np.array([added.time_ms for added in batch]),
            np.array([added.is_held for added in batch]),
        )
        last_user, last_item = int(events.user_rows.max()), int(events.item_rows.max())
        sums = self._tables.reserved(last_user, last_item, events.categories)
        factors = self._factors.reserved(last_user, last_item)
        inputs = np.zeros((len(batch), NUM_INPUTS), dtype=np.float32)
        self._tables.note_pairs(count_ratings(events, sums, factors, inputs))
        return inputs

    @torch.no_grad()
    def _step(
        self, inputs: NDArray[np.float32], labels: NDArray[np.float32], random: np.random.Generator
    ) -> StepOutcome:
        """Take one step of Adam on new rows and drawn recent ones."""
        head, optimizer = self._head, self._optimizer
        fold_statistics(head.input_mean, head.input_variance, head.input_count, torch.from_numpy(inputs))
        used = min(self._num_kept, _KEPT)
        drawn = random.integers(max(used, 1), size=_REPLAYED if used else 0)
        rows = np.concatenate([inputs, self._kept_inputs[drawn]])
        wanted = torch.from_numpy(np.concatenate([labels, self._kept_labels[drawn]])).unsqueeze(1)
        logits, layers = head.layers(rows)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted)
        of_logits = logits.sigmoid_().sub_(wanted).div_(len(rows))  # d loss / d logit = (chance - label) / B
        torch.sum(of_logits, dim=0, out=optimizer.gradients["bias"])
        skip_network.backward(head.weights, layers, of_logits, self._gradients)
        fault = optimizer.fault(loss)
        if fault:
            return StepOutcome(fault, batch={"inputs": rows, "labels": wanted.squeeze(1).numpy()})
        was_clipped = optimizer.step()
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
            | {f"optimizer.{name}": array for name, array in self._optimizer.arrays().items()}
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
        self._optimizer.restore(with_prefix(arrays, "optimizer."))
        self._tables.restore(with_prefix(arrays, "tables."))
        self._factors.restore(with_prefix(arrays, "factors."))
        self._kept_inputs[: len(arrays["kept_inputs"])] = arrays["kept_inputs"]
        self._kept_labels[: len(arrays["kept_labels"])] = arrays["kept_labels"]
        self._num_kept = int(arrays["num_kept"][0])
