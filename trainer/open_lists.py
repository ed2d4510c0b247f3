"""A list of the current micro-batch, while samples still say what is known of its items.

Letters: `n` items of a list, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainer.errors import SampleError
from trainer.loss import CHANGED_LABEL, FIRST_LABEL, TRUSTED_LABEL, UNTOLD
from trainer.ranker_learner import LabelledList
from trainer.samples import ServedList


@dataclass
class OpenList:
    """A list before it is learnt: each row holds evidence for one side only."""

    inputs: NDArray[np.float32]
    """(n, F)"""
    labels: NDArray[np.float32]
    """(n,) 1 where the item is known to be wanted, learnt now or before."""
    weights: NDArray[np.float32]
    """(n,) 0 where nothing new is learnt."""
    kinds: NDArray[np.int8]
    """(n,) how sure a label is, see `trainer.loss`."""
    positions: NDArray[np.int64]
    """(n,) places from 0, -1 where nobody was shown the list."""
    is_served: bool
    head_labels: NDArray[np.int8]
    """(n, K) 1, 0 or `UNTOLD`: what is newly known of each head."""
    head_kinds: NDArray[np.int8]
    """(n, K) how sure it is."""
    happened: NDArray[np.bool_]
    """(n, K) what is known to have happened, learnt now or before."""
    is_immediate: bool = False
    """Whether its negatives were assumed at once, so that some of them are wrong."""
    target: int = -1
    """Where the organic target stands, -1 for served lists."""
    rows: NDArray[np.int64] | None = None
    """(n,) catalogue rows of the items."""
    aged_user: str = ""
    """Whose list it is where the user is known for a while, see `trainer.measures.item_reach`; else empty."""
    is_scored: bool = False
    """Whether this organic list counts for the hit rate."""
    slices: tuple[str, ...] = ()
    """Where the rank of an organic target is also told, see `trainer.slices`."""
    row_of: dict[str, int] = field(default_factory=dict)
    _assumed: set[int] = field(default_factory=set)
    _refused: set[int] = field(default_factory=set)

    @classmethod
    def of_served(
        cls, shown: ServedList, known: NDArray[np.float32], happened: NDArray[np.bool_], is_immediate: bool
    ) -> OpenList:
        """Open a list that was shown.

        Args:
            shown: its rows.
            known: (n,) which items were learnt as wanted before.
            happened: (n, K) which heads were learnt as having happened before.
            is_immediate: whether its negatives are assumed at once.
        """
        size = len(shown.item_ids)
        return cls(
            shown.inputs,
            labels=known,
            weights=np.zeros(size, dtype=np.float32),
            kinds=np.full(size, TRUSTED_LABEL, dtype=np.int8),
            positions=shown.positions,
            is_served=True,
            head_labels=np.full(happened.shape, UNTOLD, dtype=np.int8),
            head_kinds=np.full(happened.shape, TRUSTED_LABEL, dtype=np.int8),
            happened=happened,
            is_immediate=is_immediate,
            row_of={item_id: row for row, item_id in enumerate(shown.item_ids)},
        )

    @classmethod
    def of_organic(
        cls,
        inputs: NDArray[np.float32],
        rows: NDArray[np.int64],
        target: int,
        weight: float,
        heads: Sequence[int],
        num_heads: int,
        is_scored: bool,
    ) -> OpenList:
        """Open the list that an organic positive would have been ranked on.

        Args:
            inputs: (n, F)
            rows: (n,) of the catalogue.
            target: where what the user chose stands.
            weight: of the positive.
            heads: columns of what the user did with it; of other heads nothing is known.
            num_heads: K.
            is_scored: whether its rank counts.
        """
        size = len(rows)
        labels, weights = np.zeros(size, dtype=np.float32), np.ones(size, dtype=np.float32)
        labels[target], weights[target] = 1.0, weight
        head_labels = np.full((size, num_heads), UNTOLD, dtype=np.int8)
        head_labels[:, heads] = 0
        head_labels[target, heads] = 1
        return cls(
            inputs,
            labels,
            weights,
            kinds=np.full(size, TRUSTED_LABEL, dtype=np.int8),
            positions=np.full(size, -1, dtype=np.int64),
            is_served=False,
            head_labels=head_labels,
            head_kinds=np.full((size, num_heads), TRUSTED_LABEL, dtype=np.int8),
            happened=head_labels > 0,
            target=target,
            rows=rows,
            is_scored=is_scored,
        )

    @property
    def teaches(self) -> bool:
        """Whether anything new is known of its items."""
        return bool(self.weights.any() or (self.head_labels != UNTOLD).any())

    def row(self, item_id: str) -> int:
        """Return where an item stands.

        Raises:
            SampleError: two samples of one request show different lists.
        """
        row = self.row_of.get(item_id)
        if row is None:
            raise SampleError("not_in_list", f"item {item_id!r:.80} does not stand in the list of its request")
        return row

    def contradicts(self, row: int, value: int) -> bool:
        """Say whether this batch already brought evidence for the other side; then the list must be opened anew."""
        if value:
            return row in self._refused
        return bool(self.weights[row] and self.labels[row])

    def assume_negative(self, row: int) -> None:
        """Take an item that was shown for unwanted, unless it is known to be wanted."""
        self._assumed.add(row)
        if not self.labels[row]:
            if not self.weights[row]:
                self.kinds[row] = FIRST_LABEL if self.is_immediate else TRUSTED_LABEL
            self.weights[row] += 1.0

    def take_positive(self, row: int, weight: float, was_negative: bool) -> None:
        """Learn that an item is wanted; what was only assumed in this batch is never learnt.

        Args:
            row: the item.
            weight: of this evidence; that of several heads adds up.
            was_negative: whether an earlier batch learnt it as negative.
        """
        is_more = self.labels[row] and self.weights[row]
        self.weights[row] = weight + (self.weights[row] if is_more else 0.0)
        self.labels[row] = 1.0
        if self.is_immediate:
            self.kinds[row] = CHANGED_LABEL if was_negative and row not in self._assumed else FIRST_LABEL

    def take_negative(self, row: int, weight: float) -> None:
        """Learn that a user said no to an item: certain, other than an assumed negative."""
        self._refused.add(row)
        self.labels[row] = 0.0
        self.weights[row] += weight
        self.kinds[row] = TRUSTED_LABEL

    def assume_heads(self, row: int) -> None:
        """Take it that nothing was done with a shown item, but for the heads that are known to have happened."""
        is_assumed = (self.head_labels[row] == UNTOLD) & ~self.happened[row]
        self.head_labels[row, is_assumed] = 0
        self.head_kinds[row, is_assumed] = FIRST_LABEL if self.is_immediate else TRUSTED_LABEL

    def take_head(self, row: int, column: int, target: int, was_assumed: bool) -> None:
        """Learn what became of one head of an item.

        Args:
            row: the item.
            column: the head.
            target: 1 it happened, 0 it is certain that it did not.
            was_assumed: whether an earlier batch learnt that it did not.
        """
        self.head_labels[row, column] = target
        self.happened[row, column] |= bool(target)
        if self.is_immediate and target:
            is_change = was_assumed and row not in self._assumed
            self.head_kinds[row, column] = CHANGED_LABEL if is_change else FIRST_LABEL
        else:
            self.head_kinds[row, column] = TRUSTED_LABEL

    def labelled(self) -> LabelledList:
        """Return the list as the ranker learns it."""
        return LabelledList(
            self.inputs,
            self.labels,
            self.weights,
            self.kinds,
            self.positions,
            self.is_served,
            self.head_labels,
            self.head_kinds,
            np.ones(len(self.labels), dtype=np.float32),
        )

    def sampled(self, rows: NDArray[np.int64], copies: NDArray[np.float32]) -> LabelledList:
        """Return some rows of the list, each standing for so many, (k,) and (k,)."""
        return LabelledList(
            self.inputs[rows],
            self.labels[rows],
            self.weights[rows] * copies,
            self.kinds[rows],
            self.positions[rows],
            self.is_served,
            self.head_labels[rows],
            self.head_kinds[rows],
            copies,
        )
