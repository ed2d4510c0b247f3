"""Whom an item reaches and who chose it, among users known for a while: what a push by fresh accounts shows in.

An account that came with the push counts on neither side: it cannot make an item look wanted, and lists made for it say
nothing of what others are shown. Letters: `I` items, `p` pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.measures.packed import pack_array, unpack_array


@dataclass(frozen=True)
class ItemReach:
    """Lists and choices of aged users in a block that is closed; in a block a user counts once an item."""

    users: int
    """Who were given lists."""
    rows: NDArray[np.int64]
    """(I,) items in the top of a list, ascending."""
    reached: NDArray[np.int64]
    """(I,) users whom each reached."""
    chosen_rows: NDArray[np.int64]
    """(p,) items that users chose ..."""
    chosen_by: NDArray[np.uint64]
    """... and who did, (p,)."""

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        arrays = {name: pack_array(getattr(self, name)) for name in _ARRAYS}
        return {"users": self.users, **arrays}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> ItemReach:
        """Return what `state` told of."""
        return cls(state["users"], *(unpack_array(state[name]) for name in _ARRAYS))


_ARRAYS = ("rows", "reached", "chosen_rows", "chosen_by")


@dataclass
class OpenReach:
    """The same of the block that is open."""

    users: set[int] = field(default_factory=set)
    listed: set[tuple[int, int]] = field(default_factory=set)
    """(item row, user who found it in the top of a list)"""
    chosen: set[tuple[int, int]] = field(default_factory=set)
    """(item row, user who chose it)"""

    def observe_list(self, user_id: str, rows: Iterable[int]) -> None:
        """Remember what stands in the top of a list; rows of the catalogue."""
        user = user_key(user_id)
        self.users.add(user)
        self.listed.update((row, user) for row in rows)

    def observe_choice(self, user_id: str, row: int) -> None:
        """Remember that a user chose an item."""
        self.chosen.add((row, user_key(user_id)))

    def closed(self) -> ItemReach:
        """Return what stays of it."""
        rows, reached = np.unique(np.array([row for row, _ in self.listed], dtype=np.int64), return_counts=True)
        chosen = sorted(self.chosen)
        by = np.array([user for _, user in chosen], dtype=np.uint64)
        return ItemReach(len(self.users), rows, reached, np.array([row for row, _ in chosen], dtype=np.int64), by)

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {"users": sorted(self.users), "listed": sorted(self.listed), "chosen": sorted(self.chosen)}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> OpenReach:
        """Return what `state` told of."""
        listed, chosen = ({(row, user) for row, user in state[name]} for name in ("listed", "chosen"))
        return cls(set(state["users"]), listed, chosen)


def shares(blocks: Sequence[ItemReach], num_items: int) -> tuple[NDArray[np.float64], int]:
    """Return the share of listed users whom each item reached, (I,) by row, and how many users that is."""
    users = sum(block.users for block in blocks)
    reached = np.zeros(num_items)
    for block in blocks:
        reached[block.rows] += block.reached
    return reached / max(users, 1), users


def choosers(blocks: Iterable[ItemReach], row: int) -> int:
    """Return how many users chose an item."""
    return len({user for block in blocks for user in block.chosen_by[block.chosen_rows == row].tolist()})


def user_key(user_id: str) -> int:
    """Return 8 bytes that stand for a user."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "little")
