"""A mean over lists whose error comes from users: people are dealt to arms, so people are what is independent.

Lists of one user are alike, and an interval over lists would be too short. With n lists and the amount x of a user
the mean is r = sum(x) / sum(n), and its variance U / (U - 1) * sum((x - r n)^2) / sum(n)^2 over U users (the delta
method for a ratio; Deng, Knoblich and Lu 2018, https://arxiv.org/abs/1803.06336). Sums are kept, so that each addition
is O(1).
"""

from __future__ import annotations

import math


class ClusteredMean:
    """Amount a list, by user."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[float, float]] = {}
        """user -> lists, amount."""
        self.lists = 0
        self.amount = 0.0
        self._lists_squared = self._amount_squared = self._product = 0.0

    @property
    def users(self) -> int:
        """U."""
        return len(self._users)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._users

    def add(self, user_id: str, lists: int = 0, amount: float = 0.0) -> None:
        """Take lists of a user in, or what they earned."""
        n, x = self._users.get(user_id, (0.0, 0.0))
        more_n, more_x = n + lists, x + amount
        self._users[user_id] = more_n, more_x
        self.lists += lists
        self.amount += amount
        self._lists_squared += more_n * more_n - n * n
        self._amount_squared += more_x * more_x - x * x
        self._product += more_n * more_x - n * x

    @property
    def mean(self) -> float:
        """r; 0 without lists."""
        return self.amount / self.lists if self.lists else 0.0

    @property
    def variance(self) -> float:
        """Of the mean; infinite below two users."""
        size, mean = len(self._users), self.mean
        if size < 2 or not self.lists:
            return math.inf
        squares = self._amount_squared - 2.0 * mean * self._product + mean * mean * self._lists_squared
        return size / (size - 1) * max(squares, 0.0) / (self.lists * self.lists)
