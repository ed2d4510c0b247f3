"""The consumer that parts follow topics with: one that goes on behind a refusal.

kafka-python 3.0.12 keeps an answer that it refused as the one to read on in, and the next `poll` never ends: its loop
waits for records of an iterator that is over. Here such an answer is dropped, and asked for again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher


class RefusableRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types.
    """The records of one partition in one answer, dropped where they are refused."""

    def take(self, n: int | None = None) -> list[Any]:
        """Return at most `n` records; those before a damaged one first.

        Raises:
            CorruptRecordError: the next one is damaged.
        """
        try:
            taken: list[Any] = super().take(n)
        except Exception:
            self.drain()
            raise
        return taken


class TopicConsumer(KafkaConsumer):  # type: ignore[misc]
    """`KafkaConsumer`, whose `poll` refuses a damaged record each time that it is called, and other partitions go on.

    Positions stay before the record, until somebody seeks past it or the log begins behind it.
    """

    records_type: ClassVar[type[RefusableRecords]] = RefusableRecords

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._fetcher.PartitionRecords = self.records_type
