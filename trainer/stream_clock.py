"""How far all partitions of the samples have come: the clock by which learnt labels may be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainer.sample_log import SAMPLES_TOPIC, LogRecord
from trainer.samples import Sample


class StreamClock:
    """The least of the newest broker times of all partitions that still have records to read.

    One partition may be read days ahead of another while a trainer learns a long log anew; the newest time of all would
    let what the slow one is about to repeat be forgotten.
    """

    def __init__(self) -> None:
        self._newest_ms: dict[str, int] = {}

    def note(self, records: Iterable[LogRecord]) -> None:
        """Take the broker times of records that are about to be learnt."""
        for record in records:
            if isinstance(record.decoded, Sample):
                time_ms = record.decoded.broker_time_ms or 0
                self._newest_ms[record.name] = max(self._newest_ms.get(record.name, 0), time_ms)

    def now_ms(self, offsets: Mapping[str, int], ends: Mapping[str, int]) -> int:
        """Return the clock; 0 where a partition with records to read has told no time yet.

        Args:
            offsets: `topic:partition` -> next to learn.
            ends: likewise, where they end as far as is known.
        """
        behind = [name for name, end in ends.items() if name.startswith(SAMPLES_TOPIC) and offsets.get(name, 0) < end]
        if not behind:
            return max(self._newest_ms.values(), default=0)
        return min(self._newest_ms.get(name, 0) for name in behind)
