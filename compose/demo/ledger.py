"""The books over event ids: what was acknowledged must come out of the jobs, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class LedgerBalance:
    """The closing figures."""

    acked: int
    accounted: int
    events_lost: int
    """Acknowledged ids without any outcome."""
    events_doubled: int
    """Acknowledged ids with two different outcomes (say, a sample and a dead letter)."""
    sample_duplicates: int
    """The same outcome seen again: replay after a failure, harmless because ids are learnt once."""
    dead_letters: int
    """Acknowledged ids whose outcome is a dead letter."""


class Ledger:
    """Matches acknowledged event ids with the outcomes of the stream jobs, in any order of arrival."""

    def __init__(self) -> None:
        self._acked: set[str] = set()
        self._open: set[str] = set()
        self._outcomes: dict[str, str] = {}
        self._doubled: set[str] = set()
        self._duplicates: Counter[str] = Counter()

    def acknowledge(self, event_id: str) -> None:
        """Note that Kafka has an event for good."""
        self._acked.add(event_id)
        if event_id not in self._outcomes:
            self._open.add(event_id)

    def record_outcome(self, event_id: str, kind: str) -> None:
        """Note what the jobs made of an event: `organic`, `correction` or `dead_letter`."""
        self._open.discard(event_id)
        before = self._outcomes.get(event_id)
        if before is None:
            self._outcomes[event_id] = kind
        elif before == kind:
            self._duplicates[event_id] += 1
        else:
            self._doubled.add(event_id)

    @property
    def num_acked(self) -> int:
        """Events that Kafka has for good."""
        return len(self._acked)

    @property
    def num_open(self) -> int:
        """Acknowledged events without an outcome yet: the lag of the stream jobs."""
        return len(self._open)

    def balance(self) -> LedgerBalance:
        """Close the books; outcomes of events that others sent do not count."""
        accounted = self._acked & self._outcomes.keys()
        return LedgerBalance(
            acked=len(self._acked),
            accounted=len(accounted),
            events_lost=len(self._open),
            events_doubled=len(self._acked & self._doubled),
            sample_duplicates=sum(self._duplicates[event_id] for event_id in self._duplicates.keys() & self._acked),
            dead_letters=sum(self._outcomes[event_id] == DEAD_LETTER for event_id in accounted),
        )
