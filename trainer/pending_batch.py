"""Records that wait to become a micro-batch: it is sized by what teaches, for that is what a step is taken on.

Views and records of items only count. Where most of a stream is such, a micro-batch sized by records would take a step
on one or two samples and pay the same for it as for sixty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.config import TrainerConfig
from trainer.read_ahead import decode_ahead
from trainer.sample_log import LogRecord
from trainer.samples import Sample


class PendingBatch:
    """What was read and is not learnt yet, in the order in which it was read.

    Args:
        config: bounds of a micro-batch.
        clock_s: monotonic seconds.
    """

    def __init__(self, config: TrainerConfig, clock_s: Callable[[], float]) -> None:
        self._config, self._clock_s = config, clock_s
        self._records: list[LogRecord] = []
        self._num_teaching = 0
        self._since_s = 0.0

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def has_room(self) -> bool:
        """Whether a micro-batch may hold more than there is."""
        has_teaching = self._num_teaching >= self._config.max_batch_samples
        return not has_teaching and len(self._records) < self._config.max_batch_records

    @property
    def is_due(self) -> bool:
        """Whether there is enough for a micro-batch, or the oldest record has waited for long enough."""
        if not self._records:
            return False
        is_enough = self._num_teaching >= self._config.min_batch_samples or not self.has_room
        return is_enough or self._waited_ms >= self._config.batch_wait_ms

    def left_ms(self, idle_ms: int) -> int:
        """Return how long the next record may be waited for; `idle_ms` where none is here yet."""
        return max(0, int(self._config.batch_wait_ms - self._waited_ms)) if self._records else idle_ms

    def add(self, records: Sequence[LogRecord]) -> None:
        """Take what was read."""
        if records and not self._records:
            self._since_s = self._clock_s()
        decoded = [decode_ahead(record) for record in records]
        self._records += decoded
        self._num_teaching += sum(map(teaches, decoded))

    def take(self) -> list[LogRecord]:
        """Return the next micro-batch."""
        end, num_teaching = 0, 0
        for record in self._records[: self._config.max_batch_records]:
            if num_teaching == self._config.max_batch_samples:
                break
            num_teaching += teaches(record)
            end += 1
        taken, self._records = self._records[:end], self._records[end:]
        self._num_teaching -= num_teaching
        return taken

    @property
    def _waited_ms(self) -> float:
        return 1000.0 * (self._clock_s() - self._since_s)


def teaches(record: LogRecord) -> bool:
    """Say whether a decoded record is a sample that may change weights: a list, or an event that says something."""
    sample = record.decoded
    if not isinstance(sample, Sample):
        return False
    is_neutral = not sample.outcome and sample.value is None and not sample.items[0].labels
    return sample.kind != "organic" or not is_neutral
