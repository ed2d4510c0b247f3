"""All that stands in the logs of a stack, taken in as it grows: what came in, and what went out."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.oracle.oracle_stack import BACKFILL, DEAD_LETTERS, EVENTS, ITEMS, SAMPLES, SERVED, OracleStack, TopicLog
from tests.oracle.plain_events import Json, Letter, categories_of, events_of, lists_of
from tests.oracle.plain_samples import Place


class LogMemory:
    """Remembers what every record of a stack means.

    Args:
        stack: whose topics are read, from their beginning.
    """

    def __init__(self, stack: OracleStack) -> None:
        topics = (EVENTS, BACKFILL, ITEMS, SERVED, SAMPLES, DEAD_LETTERS)
        self._logs = {topic: TopicLog(stack.endpoints.kafka, topic) for topic in topics}
        self._config: Any = stack.config
        self.events: dict[str, Json] = {}
        """Deduplicated, by event_id."""
        self.num_copies = 0
        """Good events whose id was there before."""
        self.categories: dict[str, list[str]] = {}
        self.lists: dict[str, Json] = {}
        self.expected_letters: dict[Place, Letter] = {}
        """Of records that are no events."""
        self.samples: dict[tuple[str, str], Json] = {}
        """By (kind, sample_id)."""
        self.changed_samples: list[str] = []
        """Those that came again as another one."""
        self.letters: dict[Place, Letter] = {}

    def close(self) -> None:
        """Let go of all clients."""
        for log in self._logs.values():
            log.close()

    def read_on(self) -> None:
        """Take in what was written since the last call."""
        records = [*self._logs[EVENTS].read_new(), *self._logs[BACKFILL].read_new()]
        events, letters = events_of(records, self._config)
        self.num_copies += len(records) - len(letters) - len(events.keys() - self.events.keys())
        self.events = events | self.events  # The first one counts.
        self.expected_letters |= letters
        self.categories |= categories_of(self._logs[ITEMS].read_new())
        self.lists = lists_of(self._logs[SERVED].read_new()) | self.lists
        for record in self._logs[SAMPLES].read_new():
            sample = json.loads(record.value or b"{}")
            if self.samples.setdefault((sample["kind"], sample["sample_id"]), sample) != sample:
                self.changed_samples.append(sample["sample_id"])
        self.read_letters()

    def read_letters(self) -> dict[Place, Letter]:
        """Take in new dead letters; return all."""
        for record in self._logs[DEAD_LETTERS].read_new():
            letter = json.loads(record.value or b"{}")
            place = letter["topic"], letter["partition"], letter["offset"]
            self.letters[place] = Letter(letter["reason"], base64.b64decode(letter["raw"]), letter["record_time_ms"])
        return self.letters
