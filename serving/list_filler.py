"""Fills a list from the top: each place with the first item that may stand there, under caps and around pins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many of some candidates on a list."""

    is_member: Sequence[bool]
    """(n,)"""
    most: int


class ListFiller:
    """One list in the making. Candidates are numbers from 0; letters: `n` candidates.

    Args:
        order: candidates, best first.
        caps: never exceeded, whoever is put in.
        pins: place on the list -> candidate; a pinned candidate stands nowhere else.
        size: places of the list, where they are known; pins below take no room of the caps.
    """

    def __init__(
        self,
        order: Sequence[int],
        caps: Sequence[Cap] = (),
        pins: Mapping[int, int] | None = None,
        size: int | None = None,
    ) -> None:
        self.chosen: list[int] = []
        """Candidates in the places of the list so far."""
        pinned = set(pins.values()) if pins else set()
        self._order = [one for one in order if one not in pinned] if pinned else list(order)
        self._caps = caps
        self._room = [cap.most for cap in caps]
        self._pins = dict(pins or {})
        self._gone: set[int] = set()
        self._start = 0
        for place, one in self._pins.items():  # A pin stands whatever the caps say; the others get what is left.
            if size is None or place < size:
                self._use_room(one)

    def pin_here(self) -> int | None:
        """Return the candidate that is pinned to the next place."""
        return self._pins.get(len(self.chosen)) if self._pins else None

    def allowed(self) -> Iterator[int]:
        """Yield the candidates that may stand at the next place, best first."""
        while self._start < len(self._order) and self._order[self._start] in self._gone:
            self._start += 1
        for at in range(self._start, len(self._order)):
            one = self._order[at]
            if one not in self._gone and self._has_room(one):
                yield one

    def put(self, one: int) -> None:
        """Give the next place to a candidate."""
        if self._pins.get(len(self.chosen)) != one:
            self._use_room(one)
        self._gone.add(one)
        self.chosen.append(one)

    def put_best(self) -> bool:
        """Give the next place to whoever is pinned there, else to the best; False where nobody is left."""
        best = self.pin_here()
        if best is None:
            best = next(self.allowed(), None)
        if best is None:
            return self._put_next_pin()
        self.put(best)
        return True

    def fill(self, size: int) -> list[int]:
        """Fill the list up to `size` places, or until nobody is left; return all of it."""
        while len(self.chosen) < size and self.put_best():
            pass
        return self.chosen

    def _put_next_pin(self) -> bool:
        """Where the others are used up, let pins of places further below move up."""
        below = [place for place in self._pins if place > len(self.chosen)]
        if not below:
            return False
        self._pins[len(self.chosen)] = self._pins.pop(min(below))
        return self.put_best()

    def _has_room(self, one: int) -> bool:
        return all(room > 0 or not cap.is_member[one] for cap, room in zip(self._caps, self._room, strict=True))

    def _use_room(self, one: int) -> None:
        for index, cap in enumerate(self._caps):
            self._room[index] -= bool(cap.is_member[one])
