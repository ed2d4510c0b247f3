"""How a simulated visitor reacts to a list: the position-based click model.

An item is looked at with a probability that falls with its position only, and clicked with a probability that depends
on the item only (Richardson et al. 2007, "Predicting Clicks"; Craswell et al. 2008). Taste is hidden: a few genres
that the visitor loves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

LOVED_CLICK_RATE = 0.20
OTHER_CLICK_RATE = 0.02
LIKE_RATE = 0.25
"""Of the clicked items."""
VIEW_RATE = 0.05
"""Of the items looked at and not clicked: the visitor paused there."""
LOVED_GENRES = 2


@dataclass(frozen=True, slots=True)
class Visitor:
    """A simulated user with a hidden taste."""

    user_id: str
    loved: frozenset[str]

    def click_rate(self, categories: Sequence[str]) -> float:
        """Return the probability of a click on an item that is looked at."""
        return OTHER_CLICK_RATE if self.loved.isdisjoint(categories) else LOVED_CLICK_RATE


@dataclass(frozen=True, slots=True)
class Reaction:
    """One thing a visitor does about one listed item."""

    item_id: str
    action: str
    after_s: float
    """Seconds since the list was shown."""


def examination_rate(position: int) -> float:
    """Return the probability that position 0, 1, 2 … is looked at: 1 / log2(position + 2)."""
    return 1.0 / math.log2(position + 2)


def make_visitors(count: int, genres: Sequence[str], rng: random.Random, prefix: str = "visitor") -> list[Visitor]:
    """Draw visitors with a taste of their own; a catalogue without genres gives visitors without taste."""
    loved = min(LOVED_GENRES, len(genres))
    return [Visitor(f"{prefix}-{number}", frozenset(rng.sample(list(genres), loved))) for number in range(count)]


def react(
    visitor: Visitor, item_ids: Sequence[str], categories: Sequence[Sequence[str]], rng: random.Random
) -> list[Reaction]:
    """Draw what a visitor does about a list, in order of time.

    Args:
        visitor: who looks.
        item_ids: the list, best first.
        categories: of each listed item.
        rng: the source of chance.
    """
    reactions: list[Reaction] = []
    after_s = 0.0
    for position, (item_id, genres) in enumerate(zip(item_ids, categories, strict=True)):
        if rng.random() >= examination_rate(position):
            continue
        after_s += 0.1 + 0.3 * rng.random()
        if rng.random() < visitor.click_rate(genres):
            reactions.append(Reaction(item_id, "click", after_s))
            if rng.random() < LIKE_RATE:
                after_s += 0.5 + rng.random()
                reactions.append(Reaction(item_id, "like", after_s))
        elif rng.random() < VIEW_RATE:
            reactions.append(Reaction(item_id, "view", after_s))
    return reactions
