"""Whom an item reaches and who chose it, among users known for a while: what a push by fresh accounts shows in.

An account that came with the push cannot make an item look wanted, and lists made for it say nothing of what others are
shown: both count aged users only. Who else chose is kept too, as it tells how many aged ones may be expected.
Letters: `I` items, `p` pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.measures.packed import pack_array, unpack_array


@dataclass(frozen=True)
class ItemReach:
    """Lists of aged users and everybody's choices in a block that is closed; in a block a user counts once an item."""

    users: int
    """Who were given lists."""
    rows: NDArray[np.int64]
    """(I,) items in the top of a list, ascending."""
    reached: NDArray[np.int64]
    """(I,) users whom each reached."""
    chosen_rows: NDArray[np.int64]
    """(p,) items that users chose ..."""
    chosen_by: NDArray[np.uint64]
    """... and who did, (p,) ..."""
    chosen_by_aged: NDArray[np.bool_]
    """... and whether that one was aged, (p,)."""

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        arrays = {name: pack_array(getattr(self, name)) for name in _ARRAYS}
        return {"users": self.users, **arrays}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> ItemReach:
        """Return what `state` told of; older states told of aged choosers only."""
        arrays = {name: unpack_array(state[name]) for name in _ARRAYS if name in state}
        arrays.setdefault("chosen_by_aged", np.ones(len(arrays["chosen_rows"]), dtype=np.bool_))
        return cls(users=state["users"], **arrays)


_ARRAYS = ("rows", "reached", "chosen_rows", "chosen_by", "chosen_by_aged")


class Choosers(NamedTuple):
    """How many users chose an item, or any."""

    aged: int
    all: int


@dataclass
class OpenReach:
    """The same of the block that is open."""

    users: set[int] = field(default_factory=set)
    listed: set[tuple[int, int]] = field(default_factory=set)
    """(item row, user who found it in the top of a list)"""
    chosen: dict[tuple[int, int], bool] = field(default_factory=dict)
    """(item row, user who chose it) -> whether the user is aged"""

    def observe_list(self, user_id: str, rows: Iterable[int]) -> None:
        """Remember what stands in the top of a list; rows of the catalogue."""
        user = user_key(user_id)
        self.users.add(user)
        self.listed.update((row, user) for row in rows)

    def observe_choice(self, user_id: str, row: int, is_aged: bool) -> None:
        """Remember that a user chose an item."""
        self.chosen[row, user_key(user_id)] = is_aged

    def closed(self) -> ItemReach:
        """Return what stays of it."""
        rows, reached = np.unique(np.array([row for row, _ in self.listed], dtype=np.int64), return_counts=True)
        chosen = sorted(self.chosen.items())
        return ItemReach(
            len(self.users),
            rows,
            reached,
            np.array([row for (row, _), _ in chosen], dtype=np.int64),
            np.array([user for (_, user), _ in chosen], dtype=np.uint64),
            np.array([is_aged for _, is_aged in chosen], dtype=np.bool_),
        )

    def state(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        chosen = [(row, user, is_aged) for (row, user), is_aged in sorted(self.chosen.items())]
        return {"users": sorted(self.users), "listed": sorted(self.listed), "chosen": chosen}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> OpenReach:
        """Return what `state` told of."""
        listed = {(row, user) for row, user in state["listed"]}
        chosen = {(row, user): all(is_aged) for row, user, *is_aged in state["chosen"]}
        return cls(set(state["users"]), listed, chosen)


def shares(blocks: Sequence[ItemReach], num_items: int) -> tuple[NDArray[np.float64], int]:
    """Return the share of listed users whom each item reached, (I,) by row, and how many users that is."""
    users = sum(block.users for block in blocks)
    reached = np.zeros(num_items)
    for block in blocks:
        reached[block.rows] += block.reached
    return reached / max(users, 1), users


def choosers(blocks: Iterable[ItemReach], row: int) -> Choosers:
    """Return how many users chose an item."""
    aged, everybody = set[int](), set[int]()
    for block in blocks:
        here = block.chosen_rows == row
        everybody.update(block.chosen_by[here].tolist())
        aged.update(block.chosen_by[here & block.chosen_by_aged].tolist())
    return Choosers(len(aged), len(everybody))


def choices(blocks: Iterable[ItemReach]) -> Choosers:
    """Return how often users chose anything; one who chose an item in several blocks counts in each."""
    pairs = [block.chosen_by_aged for block in blocks]
    return Choosers(sum(int(aged.sum()) for aged in pairs), sum(map(len, pairs)))


def user_key(user_id: str) -> int:
    """Return 8 bytes that stand for a user."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "little")
