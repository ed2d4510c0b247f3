"""Learns the ranker from lists: one step on the new ones together with one replayed recent batch.

Letters: `R` lists of a batch, `T` their rows, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.device import on_device
from trainer.flat_adam import FlatAdam
from trainer.heads import Heads
from trainer.model import PositionBias, Ranker
from trainer.named_arrays import with_prefix
from trainer.ranker_step import RankerRows, ranker_step
from trainer.step_config import StepConfig
from trainer.step_outcome import StepOutcome
from trainer.worker_group import WorkerGroup


@dataclass(frozen=True)
class LabelledList:
    """One list as the ranker learns it."""

    inputs: NDArray[np.float32]
    """(n, F)"""
    labels: NDArray[np.float32]
    """(n,) 1 positive, 0 negative."""
    weights: NDArray[np.float32]
    """(n,) of the BCE term; 0 where the label was learnt before or is unknown."""
    kinds: NDArray[np.int8]
    """(n,) how sure each label is, see `trainer.loss`."""
    positions: NDArray[np.int64]
    """(n,) places from 0, -1 where nobody was shown the list."""
    is_served: bool
    """True for a list a person saw."""
    head_labels: NDArray[np.int8]
    """(n, K) 1, 0 or `UNTOLD`, whatever weight the label has for the ranker."""
    head_kinds: NDArray[np.int8]
    """(n, K) how sure each is."""
    copies: NDArray[np.float32]
    """(n,) for how many rows of its list each stands, which `weights` hold already."""


@dataclass(frozen=True)
class ListBatch:
    """Lists laid end to end."""

    inputs: NDArray[np.float32]
    """(T, F)"""
    labels: NDArray[np.float32]
    """(T,)"""
    weights: NDArray[np.float32]
    """(T,)"""
    kinds: NDArray[np.int8]
    """(T,)"""
    positions: NDArray[np.int64]
    """(T,)"""
    list_of: NDArray[np.int64]
    """(T,)"""
    is_served: NDArray[np.bool_]
    """(R,)"""
    head_labels: NDArray[np.int8]
    """(T, K)"""
    head_kinds: NDArray[np.int8]
    """(T, K)"""
    copies: NDArray[np.float32]
    """(T,)"""

    @classmethod
    def of_lists(cls, lists: Sequence[LabelledList]) -> ListBatch:
        """Lay lists end to end; at least one."""
        sizes = [len(labelled.labels) for labelled in lists]
        list_of = np.repeat(np.arange(len(lists)), sizes)
        return cls(
            list_of=list_of, is_served=np.array([labelled.is_served for labelled in lists]), **_end_to_end(lists)
        )

    @classmethod
    def joined(cls, batches: Sequence[ListBatch]) -> ListBatch:
        """Lay batches end to end."""
        ends = np.cumsum([len(batch.is_served) for batch in batches])
        list_of = [batch.list_of + end - len(batch.is_served) for batch, end in zip(batches, ends, strict=True)]
        is_served = np.concatenate([batch.is_served for batch in batches])
        return cls(list_of=np.concatenate(list_of), is_served=is_served, **_end_to_end(batches))

    def split(self, sizes: Sequence[int]) -> list[ListBatch]:
        """Undo `joined`; `sizes` are the numbers of lists of the parts."""
        parts, start = [], 0
        for size in sizes:
            first, last = np.searchsorted(self.list_of, [start, start + size])
            list_of, is_served = self.list_of[first:last] - start, self.is_served[start : start + size]
            rows = {name: getattr(self, name)[first:last] for name in _OF_ROWS}
            parts.append(ListBatch(list_of=list_of, is_served=is_served, **rows))
            start += size
        return parts


_OF_ROWS = tuple(name for name in LabelledList.__dataclass_fields__ if name != "is_served")
"""Fields that say something of every row: lists and batches have the same."""


def _end_to_end(parts: Sequence[LabelledList] | Sequence[ListBatch]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_ROWS}


class RankerLearner:
    """The ranker and its heads with their optimiser and the recent batches they replay.

    Args:
        ranker: the module to train.
        heads: trained with it.
        config: rates, loss and replay size.
        device: where the ranker lives.
        workers: who takes each step together with this one; nobody by default.
    """

    def __init__(
        self, ranker: Ranker, heads: Heads, config: StepConfig, device: str, workers: WorkerGroup | None = None
    ) -> None:
        self.ranker = ranker
        self.heads = heads
        self._workers = workers
        self.ranker.has_mixed_precision = config.mixed_precision
        self._config = config
        self._device = device
        self.position_bias = PositionBias().to(device)
        self._modules = torch.nn.ModuleDict({"ranker": ranker, "heads": heads, "position_bias": self.position_bias})
        self.optimizer = FlatAdam(self._modules, config.learning_rate, config.update_clip)
        self.recent: deque[ListBatch] = deque()
        self._recent_rows = 0

    @torch.no_grad()
    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, (T, F) -> (T,)."""
        logits: NDArray[np.float32] = self.ranker(self._tensor(inputs)).cpu().numpy()
        return logits

    @torch.no_grad()
    def predict_heads(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of every head, (T, F) -> (T, K)."""
        logits: NDArray[np.float32] = self.heads(*self.ranker.layers(self._tensor(inputs))).cpu().numpy()
        return logits

    def learn_batch(self, batch: ListBatch, step: int, rate_factor: float = 1.0) -> StepOutcome:
        """Take one step on `batch` and one replayed batch, unless it would not be finite."""
        self.optimizer.learning_rate = rate_factor * self._config.learning_rate
        inputs, positions = self._tensor(batch.inputs), self._tensor(batch.positions)
        if self._workers:
            inputs, positions = self._workers.gather(inputs), self._workers.gather(positions)
        self.ranker.observe_inputs(inputs)
        self.position_bias.observe_positions(positions)
        replayed = self._drawn(step)
        outcome = self._step(batch if replayed is None else ListBatch.joined([batch, replayed]))
        if outcome.is_taken:
            self._remember(batch)
        return outcome

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all but the ranker's weights for a checkpoint; those are saved with the model."""
        arrays: dict[str, NDArray[Any]] = {f"optimizer.{k}": v for k, v in self.optimizer.arrays().items()}
        positions = self.position_bias.state_dict()
        arrays |= {f"position_bias.{name}": tensor.cpu().numpy().copy() for name, tensor in positions.items()}
        if self.recent:
            joined = ListBatch.joined(self.recent)
            arrays |= {f"replay.{name}": getattr(joined, name) for name in ListBatch.__dataclass_fields__}
            arrays["replay.batch_sizes"] = np.array([len(batch.is_served) for batch in self.recent])
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self.optimizer.restore(with_prefix(arrays, "optimizer."))
        positions = with_prefix(arrays, "position_bias.")
        self.position_bias.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in positions.items()})
        replay = with_prefix(arrays, "replay.")
        self.recent = deque()
        if replay:
            joined = ListBatch(**{name: replay[name].copy() for name in ListBatch.__dataclass_fields__})
            self.recent = deque(joined.split(replay["batch_sizes"].tolist()))
        self._recent_rows = sum(len(batch.labels) for batch in self.recent)

    def _step(self, batch: ListBatch) -> StepOutcome:
        rows = RankerRows(**{name: self._tensor(getattr(batch, name)) for name in RankerRows._fields})
        gradients = self.optimizer.gradients
        loss = ranker_step(self.ranker, self.heads, self.position_bias, rows, self._config, gradients)
        if self._workers:
            loss = self._workers.average(loss, self.optimizer.flat_gradient)
        fault = self.optimizer.fault(loss)
        if fault:
            return StepOutcome(fault, batch={name: getattr(batch, name) for name in ListBatch.__dataclass_fields__})
        return StepOutcome(was_clipped=self.optimizer.step())

    def _drawn(self, step: int) -> ListBatch | None:
        """Draw one recent batch; a function of (seed, step), so that a restart draws the same."""
        if not self.recent:
            return None
        return self.recent[int(np.random.default_rng((self._config.seed, step)).integers(len(self.recent)))]

    def _remember(self, batch: ListBatch) -> None:
        self.recent.append(batch)
        self._recent_rows += len(batch.labels)
        while self.recent and self._recent_rows > self._config.replay_rows:
            self._recent_rows -= len(self.recent.popleft().labels)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return on_device(array, self._device)
