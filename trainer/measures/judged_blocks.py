"""What the newest judged lists said, block by block: the trailing window that the gate before every publish looks at.

Everything judged goes into the open block; a block that has enough is closed, and only closed blocks are compared. The
newest `BLOCKS` closed ones are the window, those before it are what the window is held against: the metrics of the last
version that a whole window has confirmed. Sums only, so a block costs the same however much was judged in it.
Letters: `n` judged things, `B` blocks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.measures.item_reach import ItemReach, OpenReach

BLOCKS = 20
"""Closed blocks of a window: enough that the spread of their means tells the noise, bursts of one user included."""

Sums = NDArray[np.float64]
"""(5,) of one series: count, values, squared values, leads, squared leads."""


class Estimate(NamedTuple):
    """What blocks say of one series."""

    size: int
    value: float
    """Mean of what the model did; higher is better."""
    value_error: float
    """Standard error of it."""
    lead: float
    """Mean of how far it was ahead of the baseline on the same things."""
    lead_error: float
    blocks: int = BLOCKS
    """That held it: what the errors are known from."""


@dataclass(frozen=True)
class Block:
    """What was judged while a block was open."""

    sums: dict[str, Sums]
    reach: ItemReach

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {"sums": _told(self.sums), "reach": self.reach.state()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Block:
        """Return what `state` told of."""
        return cls(_read(state["sums"]), ItemReach.of_state(state["reach"]))


@dataclass
class OpenBlock:
    """The block that is being filled."""

    judged: int = 0
    sums: dict[str, Sums] = field(default_factory=dict)
    reach: OpenReach = field(default_factory=OpenReach)

    def add(self, name: str, values: NDArray[np.float64], leads: NDArray[np.float64]) -> None:
        """Fold in things of one series, both (n,)."""
        added = np.array([len(values), values.sum(), (values**2).sum(), leads.sum(), (leads**2).sum()])
        known = self.sums.get(name)
        self.sums[name] = added if known is None else known + added

    def closed(self) -> Block:
        """Return what stays of it."""
        return Block(self.sums, self.reach.closed())

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {"judged": self.judged, "sums": _told(self.sums), "reach": self.reach.state()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> OpenBlock:
        """Return what `state` told of."""
        return cls(state["judged"], _read(state["sums"]), OpenReach.of_state(state["reach"]))


class JudgedBlocks:
    """The blocks of a window, those before it, and the open one.

    Args:
        window: things judged in a window; a `BLOCKS`th of them close a block.
    """

    def __init__(self, window: int) -> None:
        self._block_size = max(1, window // BLOCKS)
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.open = OpenBlock()
        self._closed: deque[Block] = deque(maxlen=2 * BLOCKS)
        self.num_closed = 0
        """Blocks closed so far."""
        self.window_start = 0
        """Number of the first block that may be in the window: what is older is only compared with."""

    def observe(
        self,
        name: str,
        values: NDArray[np.floating[Any]],
        baseline: NDArray[np.floating[Any]],
        slices: Mapping[str, NDArray[np.bool_]] | None = None,
        is_counted: bool = True,
    ) -> None:
        """Fold in what was judged of one kind, before it is learnt.

        Args:
            name: of the measure.
            values: (n,) of the model; higher is better.
            baseline: (n,) of a baseline on the same things.
            slices: name -> which of them belong to it, (n,).
            is_counted: whether they fill the block; another measure of the same things does not.
        """
        if not len(values):
            return
        values = np.asarray(values, dtype=np.float64)
        leads = values - baseline
        self.open.judged += len(values) if is_counted else 0
        self.open.add(name, values, leads)
        for slice_name, belongs in (slices or {}).items():
            if belongs.any():
                self.open.add(f"{name}[{slice_name}]", values[belongs], leads[belongs])

    def close_when_full(self) -> None:
        """Close the open block if enough was judged in it; called once a micro-batch."""
        if self.open.judged >= self._block_size:
            self._closed.append(self.open.closed())
            self.open = OpenBlock()
            self.num_closed += 1

    def told(self) -> dict[str, Any]:
        """Return what the window says, for people: each series beside its baseline, and how full the open block is."""
        series = {
            name: {"size": one.size, "value": one.value, "baseline": one.value - one.lead, "lead_error": one.lead_error}
            for name, one in estimates(self.window).items()
        }
        return {"series": series, "open": self.open.judged, "block_size": self._block_size}

    def begin_window(self) -> None:
        """Hold what comes against what there is: the newest blocks become the reference."""
        self.window_start = self.num_closed

    @property
    def window(self) -> list[Block]:
        """The newest closed blocks, at most `BLOCKS`."""
        size = min(BLOCKS, self.num_closed - self.window_start, len(self._closed))
        return list(self._closed)[len(self._closed) - size :]

    @property
    def reference(self) -> list[Block]:
        """The `BLOCKS` closed blocks before the window, fewer where there are none."""
        end = len(self._closed) - len(self.window)
        return list(self._closed)[max(0, end - BLOCKS) : end]

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {
            "num_closed": self.num_closed,
            "window_start": self.window_start,
            "closed": [block.state() for block in self._closed],
            "open": self.open.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.num_closed, self.window_start = state["num_closed"], state["window_start"]
        self._closed = deque((Block.of_state(one) for one in state["closed"]), maxlen=2 * BLOCKS)
        self.open = OpenBlock.of_state(state["open"])


def _told(sums: Mapping[str, Sums]) -> dict[str, list[float]]:
    return {name: one.tolist() for name, one in sums.items()}


def _read(told: Mapping[str, Sequence[float]]) -> dict[str, Sums]:
    return {name: np.array(one, dtype=np.float64) for name, one in told.items()}


def estimates(blocks: Sequence[Block]) -> dict[str, Estimate]:
    """Return what blocks say of every series that is in them."""
    names = dict.fromkeys(name for block in blocks for name in block.sums)
    return {name: _estimate(np.array([block.sums[name] for block in blocks if name in block.sums])) for name in names}


def _estimate(sums: NDArray[np.float64]) -> Estimate:
    """Return means with standard errors from the sums of blocks, (B, 5).

    Judged things of one burst are alike, so that the errors of independent ones would be too small: the spread between
    blocks tells the rest. It is taken between neighbours (von Neumann 1941, "Distribution of the ratio of the mean
    square successive difference to the variance"): a fall inside the window is what is looked for, not its noise.
    """
    count, *totals = sums.sum(axis=0).tolist()
    means, errors = [], []
    for column, total, squares in ((1, totals[0], totals[1]), (3, totals[2], totals[3])):
        mean = total / count
        of_one = max(0.0, squares / count - mean**2) / count
        steps = np.diff(sums[:, column] - mean * sums[:, 0])
        of_blocks = 0.5 * len(sums) * float((steps**2).mean()) / count**2 if len(steps) else 0.0
        means.append(mean)
        errors.append(math.sqrt(max(of_one, of_blocks)))
    return Estimate(int(count), means[0], errors[0], means[1], errors[1], len(sums))
