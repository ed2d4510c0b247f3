"""Two buffers of one chain of versions: one serves, the other takes the next deltas; then they change places.

Left-right (Ramalhete and Correia 2015, "Left-Right: a concurrency control technique with wait-free population
oblivious reads", https://hal.science/hal-01207881) with one writer: readers never wait, and the writer waits for the
last reader of the buffer that it will write. All methods but `prepare` run on the event loop; `prepare` in a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.grown import grown
from features.item_table import ItemTable
from serving.delta_reader import Received
from serving.model_buffer import ModelBuffer, ProvenDelta
from serving.near_rows import Moved, NearRows
from trainer.version_files import ModelVersion, VersionError

GAP = "gap"
"""Reason of a delta that changes another version than what is here."""

ProveDelta = Callable[[Received, ModelBuffer], ProvenDelta]
"""(received, the buffer it is for) -> its content; raises VersionError."""


class TableRows:
    """The item table's rows of a chain's items; items are only ever added, so both buffers share it."""

    def __init__(self) -> None:
        self._rows: NDArray[np.int64] = np.zeros(64, dtype=np.int64)
        self._size = 0

    def extend(self, item_ids: Sequence[str], items: ItemTable) -> NDArray[np.int64]:
        """Map the items behind those that are mapped, and return the rows of all, (N,)."""
        size = len(item_ids)
        self._rows = grown(self._rows, size, by=1.5)
        if size > self._size:
            self._rows[self._size : size] = items.ensure_rows(item_ids[self._size :])
            self._size = size
        return self._rows[:size]

    def shared(self, size: int) -> TableRows:
        """Return the rows of a chain that begins with the same `size` items."""
        made = TableRows()
        made._rows, made._size = self._rows[:size].copy(), size
        return made


@dataclass
class Prepared:
    """What became of some deltas in the buffer beside."""

    applied: list[ProvenDelta] = field(default_factory=list)
    moved: Moved = ()
    """Items whose vectors these deltas moved far from where an index has them."""
    next_offset: int = -1
    """Behind the last one that was in order."""
    unfit: list[tuple[Received, VersionError]] = field(default_factory=list)
    """What cannot be applied, passed over. Where a link of the chain was lost, the next one shows the gap; where a
    record was none, or was sent twice and damaged once, nothing is lost."""
    skipped: int = 0
    """Older than what was there: sent twice, or read again."""
    is_ahead: bool = False
    """Whether deltas of a newer epoch came, which begin at a snapshot that is not here yet."""
    gap: tuple[Received, VersionError] | None = None
    """The first delta of another parent than what is here; nothing behind it was looked at."""


class LeftRight:
    """A chain's two buffers.

    Args:
        live: the first; the second is made when the first delta comes.
        table_rows: of its items.
        near: the index of the tower.
    """

    def __init__(self, live: ModelBuffer, table_rows: TableRows, near: NearRows) -> None:
        self.live = live
        self.table_rows = table_rows
        self.near = near
        self._beside: ModelBuffer | None = None
        self._missed: list[ProvenDelta] = []
        """What the buffer beside lacks of the live one."""
        self._is_overtaken = False
        """Whether the buffer beside is further than the live one."""

    async def free_beside(self, timeout_s: float) -> tuple[bool, bool]:
        """Wait until nobody reads the buffer beside; give it up to its readers where that takes too long.

        Returns:
            Whether there was anybody to wait for, and whether the buffer was given up: then `prepare` copies the live
            one, and the old one's memory goes with its last reader.
        """
        beside = self._beside
        if beside is None or not beside.readers.count:
            return False, False
        if await beside.readers.wait_until_gone(timeout_s):
            return True, False
        self.drop_beside()
        return True, True

    def drop_beside(self) -> bool:
        """Let go of the buffer beside, which is in the way; return whether it held deltas that the live one lacks."""
        was_overtaken, self._is_overtaken = self._is_overtaken, False
        self._beside, self._missed = None, []
        return was_overtaken

    def prepare(self, received: Sequence[Received], prove: ProveDelta) -> Prepared:
        """Bring the buffer beside up to the live one, then through deltas up to a gap.

        Needs a buffer beside that nobody reads, and nobody else who writes.
        """
        beside = self._beside
        if beside is None:
            beside, self._missed = self.live.copy(), []
        self._beside = None  # Where anything unforeseen happens half-way, the buffer is lost rather than wrong.
        for missed in self._missed:
            beside.apply(missed)
        self._missed = []
        prepared = apply_all(beside, received, prove)
        prepared.moved = self._moved(prepared.applied, beside)
        self._beside = beside
        return prepared

    def _moved(self, applied: Sequence[ProvenDelta], buffer: ModelBuffer) -> Moved:
        """Compare the vectors that deltas changed with those that the index was made of."""
        changed = [one.delta.changes["item_vectors"].places for one in applied if "item_vectors" in one.delta.changes]
        if not changed:
            return ()
        rows = np.unique(np.concatenate(changed))
        return self.near.moved(rows, buffer.image.tensor("item_vectors"))

    def overtake(self) -> None:
        """Leave the live one where it is: what was prepared must not serve, but what follows it may."""
        self._is_overtaken = True

    def swap(self, prepared: Prepared) -> ModelBuffer:
        """Let the buffers change places; return the one that serves now."""
        assert self._beside is not None
        self.live, self._beside = self._beside, self.live
        self._missed = prepared.applied
        if self._is_overtaken:  # The other lacks more than these, and nobody kept it: the next one is a copy.
            self.drop_beside()
        return self.live


def apply_all(buffer: ModelBuffer, received: Sequence[Received], prove: ProveDelta) -> Prepared:
    """Apply deltas in order up to a gap; those at or below the buffer's version are passed over."""
    prepared = Prepared()
    for one in received:
        try:
            if one.delta is None:
                raise one.error or VersionError("no_delta", "neither a delta nor a reason")
            version = ModelVersion.parse(one.delta.version)
            if version.epoch > buffer.version.epoch:
                prepared.is_ahead = True
            elif version <= buffer.version:
                prepared.skipped += 1
            else:
                proven = prove(one, buffer)
                buffer.apply(proven)
                prepared.applied.append(proven)
        except VersionError as error:
            if error.reason == GAP:
                prepared.gap = one, error
                break
            prepared.unfit.append((one, error))
        prepared.next_offset = one.next_offset
    return prepared
