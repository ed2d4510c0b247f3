"""Follows the ends of Kafka topics in one thread, at a bounded cost: what is too much to read is passed over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

logger = logging.getLogger(__name__)

_POLL_MS = 200
_PAUSE_S = 0.3
"""Between two polls: what is looked at by people need not be read record by record."""
_IDLE_PAUSE_S = 2.0
"""While nobody looks."""
_MAX_RECORDS = 2000
_LOOK_S = 2.0
_BACKOFF_S = (0.5, 10.0)


@dataclass(frozen=True)
class Tailed:
    """One topic and where its reading begins."""

    topic: str
    take: Callable[[Any], None]
    """Gets every record that is read, under the tail's lock."""
    most: int = 2000
    """Records of a partition that may wait; of more, only the newest half is read."""
    is_whole: bool = False
    """Read from the beginning, and pass over nothing: for topics that are small or compacted."""


class TopicTail:
    """Reads topics from near their ends.

    Args:
        connect: makes a consumer without a group; called again after a failure.
        tailed: what to read. A topic that does not exist yet is waited for.
        is_watched: whether anybody looks; else it reads less often.
    """

    def __init__(
        self, connect: Callable[[], Any], tailed: Sequence[Tailed], is_watched: Callable[[], bool] = lambda: True
    ) -> None:
        self._connect = connect
        self._tailed = {one.topic: one for one in tailed}
        self._is_watched = is_watched
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail topics", daemon=True)
        self._positions: dict[TopicPartition, int] = {}
        self._failures = 0
        self.lock = threading.Lock()
        """Held while records are taken; who reads what they became takes it too."""
        self.error = ""
        """Why nothing is read now; empty where it is."""
        self.passed_over = 0
        """Records that were not read, as there were too many."""
        self.written: dict[str, int] = {}
        """Topic -> sum of the end offsets of its partitions, which grows by every record that is written."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one inside a connection attempt is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=3.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            consumer: Any = None
            try:
                consumer = self._connect()
                self._follow(consumer)
            except KafkaError as error:
                self._back_off(f"Kafka does not answer ({error}); `headrace status` shows whether it runs")
            except Exception:  # What a stranger wrote into a topic must not end the page.
                logger.exception("a record could not be taken; reading goes on behind it")
                self._back_off("A record could not be read; the dashboard's log says which")
            finally:
                if consumer is not None:
                    consumer.close()

    def _back_off(self, error: str) -> None:
        self.error = error
        self._failures += 1
        self._stopping.wait(min(_BACKOFF_S[0] * 2.0 ** min(self._failures, 16), _BACKOFF_S[1]))

    def _follow(self, consumer: Any) -> None:
        looked_s = -_LOOK_S
        while not self._stopping.is_set():
            if time.monotonic() - looked_s >= _LOOK_S:
                self._assign(consumer)
                self._pass_over(consumer)
                looked_s, self.error, self._failures = time.monotonic(), "", 0
            self.read_once(consumer)
            self._stopping.wait(_PAUSE_S if self._is_watched() else _IDLE_PAUSE_S)

    def read_once(self, consumer: Any) -> int:
        """Take what has come; return how many records."""
        count = 0
        batches = consumer.poll(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
        with self.lock:
            for partition, records in batches.items():
                take = self._tailed[partition.topic].take
                for record in records:
                    self._positions[partition] = record.offset + 1
                    take(record)
                    count += 1
        return count

    def _assign(self, consumer: Any) -> None:
        """Read partitions that were not read yet, and go on where a lost connection stopped."""
        assigned = consumer.assignment()
        found = {
            TopicPartition(topic, number)
            for topic in self._tailed
            for number in consumer.partitions_for_topic(topic) or ()
        }
        new = found - assigned
        if not new:
            return
        consumer.assign(sorted(found | assigned))
        starts, ends = consumer.beginning_offsets(list(new)), consumer.end_offsets(list(new))
        for partition in new:
            one = self._tailed[partition.topic]
            first = starts[partition] if one.is_whole else max(starts[partition], ends[partition] - one.most // 2)
            consumer.seek(partition, self._positions.get(partition, first))

    def _pass_over(self, consumer: Any) -> None:
        live = [part for part in consumer.assignment() if not self._tailed[part.topic].is_whole]
        if not live:
            return
        ends = consumer.end_offsets(live)
        for topic in {partition.topic for partition in live}:
            self.written[topic] = sum(end for partition, end in ends.items() if partition.topic == topic)
        for partition, end in ends.items():
            most, position = self._tailed[partition.topic].most, consumer.position(partition)
            if end - position > most:
                self.passed_over += end - most // 2 - position
                consumer.seek(partition, end - most // 2)
