"""Feature topics -> Feast online store. One writer per key, whole rows, nothing committed before it is written.

One round:
    1. poll what has arrived since the last round
    2. decode and encode; a record that is no row is counted, logged and left out
    3. keep the newest row of every (view, entity)
    4. wait until Redis has answered the last round; while it is away, write that again
    5. note the rows in the feature log's journal, then send rows, consumed sets and offsets as one Redis transaction
       (`features/feature_log.py` has the commit order); Redis works on it during 1 to 3 of the next round
A restart goes on at the offsets that lie in Redis beside the rows, and from the beginning where those rows have other
columns than the configuration. Rows are whole: reading one twice changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaError
from redis import RedisError

from features.config import FeaturesConfig
from features.errors import BadRowError, StoreLostError, WentBackError
from features.feast_rows import EncodedRow
from features.feature_topics import FEATURE_TOPICS, TOPIC_BY_NAME, FeatureTopic
from features.ingester_stats import IngesterStats
from features.online_writer import Claim, PreparedRows

POLL_MS = 100
"""Longest wait for a record. A poll returns as soon as one is there; this only bounds the reaction to SIGTERM."""
MIN_POLL_RECORDS, MAX_POLL_RECORDS = 500, 1000
"""Records in one transaction. More than 1,000 gain nothing: its two round trips are 1 % of the work by then."""
MAX_EXCHANGE_MS = 10.0
"""Redis answers nobody else meanwhile: transactions shrink when they take longer, and grow again when they do not."""
BEAT_EVERY_S = 1.0
PARTITIONS_EVERY_S = 30.0
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 1.0

_log = logging.getLogger(__name__)


class StopSignal(Protocol):
    """What the ingester needs of `threading.Event`."""

    def is_set(self) -> bool:
        """Say whether to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, but no longer than until the stop."""


class Writer(Protocol):
    """What the ingester needs of `OnlineWriter`."""

    def try_claim(self) -> Claim | None:
        """Become the writer, or return None."""

    @property
    def noted_round(self) -> int:
        """The newest round that is both in the store and in the journal."""

    @property
    def exchange_ms(self) -> float:
        """How long the last transaction took."""

    @property
    def is_settled(self) -> bool:
        """Whether no write is without an answer."""

    def rise_above(self, version_ms: int, epoch: int) -> None:
        """Never go back to a version or an epoch."""

    def encode_record(self, entry: FeatureTopic, record: Any, config: FeaturesConfig) -> EncodedRow:
        """Return the bytes of a record's row."""

    def prepare(self, rows: Sequence[EncodedRow]) -> PreparedRows:
        """Make one transaction of rows."""

    def start_write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Send rows and offsets, all or nothing."""

    def write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Wait until they are written, and start again where they are not."""

    def beat(self) -> None:
        """Tell that this writer lives."""

    def release(self) -> None:
        """Stop being the writer."""


class RowLog(Protocol):
    """What the ingester needs of `FeatureLog`."""

    def newest(self) -> tuple[int, int]:
        """Return a version and an epoch that nothing in the log is above."""

    def start_epoch(self, claim: Claim) -> None:
        """Take over under a claim."""

    def tick(self, noted_round: int) -> None:
        """Flush what is due."""

    def note_loss(self) -> None:
        """Write down that the store lost rows."""

    def close(self, noted_round: int | None) -> None:
        """Flush and end."""

    def summary(self) -> Mapping[str, Any]:
        """Return figures."""


def backoff_s(attempt: int) -> float:
    """Return the wait before try `attempt` + 1: 0.05 s doubling to 1 s, so a healed Redis is found within a second."""
    return min(_FIRST_BACKOFF_S * 2.0 ** min(attempt, 16), _MAX_BACKOFF_S)


def next_poll_size(size: int, exchange_ms: float) -> int:
    """Return how many records to write next: a third less after a slow transaction, a few more after a quick one."""
    grown = size * 2 // 3 if exchange_ms > MAX_EXCHANGE_MS else size + 20
    return min(max(grown, MIN_POLL_RECORDS), MAX_POLL_RECORDS)


def newest_rows(rows: Iterable[EncodedRow]) -> list[EncodedRow]:
    """Keep the last row of every (view, entity), which is the newest: a key lives in one partition.

    Consumed items of the rows left out are kept: the newest row may no longer name them.
    """
    newest: dict[tuple[str, str], EncodedRow] = {}
    for row in rows:
        key = (row.view, row.entity_id)
        earlier = newest.get(key)
        if earlier is not None and earlier.consumed.num_items:
            row = replace(row, consumed=earlier.consumed.before(row.consumed))
        newest[key] = row
    return list(newest.values())


@dataclass(frozen=True)
class _Round:
    """What was read together and is written together."""

    rows: PreparedRows
    offsets: Mapping[str, int]
    started_s: float


class Ingester:
    """Moves feature rows from Kafka to Redis until it is told to stop.

    Args:
        consumer: a `kafka.KafkaConsumer` without a group, auto-commit off.
        writer: the store.
        config: limits of the rows.
        stats: what is told to the outside.
        stop: set by SIGTERM.
        on_ready: called once, when the store is claimed and the partitions are assigned.
        log: the feature log, whose journal the writer notes rows in; None where there is none.
    """

    def __init__(
        self,
        consumer: Any,
        writer: Writer,
        config: FeaturesConfig,
        stats: IngesterStats,
        stop: StopSignal,
        on_ready: Callable[[], None],
        log: RowLog | None = None,
    ) -> None:
        self._consumer = consumer
        self._writer = writer
        self._config = config
        self.stats = stats
        self._stop = stop
        self._on_ready: Callable[[], None] | None = on_ready
        self._log = log
        self._poll_size = MAX_POLL_RECORDS
        self._open: _Round | None = None
        self._last_bad: dict[str, str] = {}
        self._last_beat_s = self._last_partitions_s = 0.0

    def run(self) -> None:
        """Ingest until stopped; a lost claim starts over from the offsets in the store."""
        if self._log is not None:
            self._writer.rise_above(*self._log.newest())
        while not self._stop.is_set():
            try:
                if self._start():
                    self._ingest()
            except StoreLostError as error:
                _log.warning("%s; claiming the store again", error)
                if self._log is not None and isinstance(error, WentBackError):
                    self._log.note_loss()
            except CorruptRecordError as error:
                _log.error("a record is damaged where Kafka keeps it, no row behind it is written (%s)", error)
                self._stop.wait(_MAX_BACKOFF_S)
            except KafkaError as error:
                _log.warning("Kafka does not answer (%s); starting over", error)
                self._stop.wait(_MAX_BACKOFF_S)
        if self._log is not None:
            self._log.close(self._writer.noted_round if self._writer.is_settled else None)
        self._writer.release()

    def _start(self) -> bool:
        """Find the partitions, become the writer and go to its offsets; False when stopped meanwhile."""
        partitions = self._wait_for_partitions()
        claim = self._wait_for_claim()
        if claim is None or not partitions:
            return False
        if self._log is not None:
            self._log.start_epoch(claim)
        self._assign(partitions, claim.offsets)
        _log.info("ingesting %d partitions as epoch %d", len(partitions), claim.epoch)
        if self._on_ready is not None:
            self._on_ready()
            self._on_ready = None
        return True

    def _ingest(self) -> None:
        self._open = None
        while not self._stop.is_set():
            # With a write open only what is there already: an answer must not wait for new records.
            batches = self._consumer.poll(timeout_ms=0 if self._open else POLL_MS, max_records=self._poll_size)
            prepared = self._prepare(batches) if batches else None
            if not self._finish_write():
                return
            self._keep_alive()
            if self._log is not None:
                self._log.tick(self._writer.noted_round)
            self.stats.report("ingesting", self.lag)
            if prepared is not None:
                self._start_write(*prepared)
        self._finish_write()

    def _prepare(self, batches: Mapping[TopicPartition, Sequence[Any]]) -> tuple[PreparedRows, dict[str, int]]:
        rows = newest_rows(row for part, records in batches.items() for row in self._decode(part.topic, records))
        offsets = {f"{part.topic}:{part.partition}": records[-1].offset + 1 for part, records in batches.items()}
        return self._writer.prepare(rows), offsets

    def _start_write(self, rows: PreparedRows, offsets: Mapping[str, int]) -> None:
        self._open = _Round(rows, offsets, time.perf_counter())
        # What fails here fails again, and is waited for, in `_finish_write`.
        with contextlib.suppress(RedisError):
            self._writer.start_write(rows, offsets)

    def _finish_write(self) -> bool:
        """Wait until what was started is written; False when stopped before."""
        written = self._open
        if written is None:
            return True
        if not self._persist(lambda: self._writer.write(written.rows, written.offsets)):
            return False
        self._open = None
        self.stats.count_write(written.rows.rows, (time.perf_counter() - written.started_s) * 1000)
        self._poll_size = next_poll_size(self._poll_size, self._writer.exchange_ms)
        return True

    def _decode(self, topic: str, records: Sequence[Any]) -> list[EncodedRow]:
        """Decode newest first, so that catching up skips the rows that a newer one of their key replaces."""
        entry = TOPIC_BY_NAME[topic]
        rows: list[EncodedRow] = []
        seen: set[bytes] = set()
        bad = 0
        for record in reversed(records):
            if record.key in seen and not entry.needs_every_row:
                continue
            try:
                # At once: objects that die young cost least.
                rows.append(self._writer.encode_record(entry, record, self._config))
                seen.add(record.key)
            except BadRowError as error:
                bad += 1
                self._note_bad(topic, record, str(error))
        self.stats.count_records(len(records), bad)
        return rows[::-1]

    def _note_bad(self, topic: str, record: Any, reason: str) -> None:
        """Log the first of equal reasons in a row; all are counted."""
        if self._last_bad.get(topic) != reason:
            _log.warning("left out %s:%d offset %d: %s", topic, record.partition, record.offset, reason)
        self._last_bad[topic] = reason

    def _persist(self, write: Callable[[], object]) -> bool:
        """Call `write` until the store has answered; False when stopped before."""
        attempt = 0
        while True:
            try:
                write()
            except RedisError as error:
                if attempt == 0:
                    _log.warning("the store does not answer (%s); trying again until it does", error)
            else:
                if attempt:
                    _log.info("the store answers again after %d tries", attempt)
                return True
            self.stats.count_retry()
            self.stats.report("waiting for the store", self.lag)
            if self._stop.wait(backoff_s(attempt)):
                return False
            attempt += 1

    def _keep_alive(self) -> None:
        """Beat, and look for new partitions, each at its own pace."""
        now_s = time.monotonic()
        if now_s - self._last_beat_s >= BEAT_EVERY_S:
            self._persist(self._writer.beat)
            self._last_beat_s = now_s
        if now_s - self._last_partitions_s >= PARTITIONS_EVERY_S:
            self._last_partitions_s = now_s
            added = set(self._partitions()) - self._consumer.assignment()
            if added:
                raise StoreLostError(f"{len(added)} partitions were added")

    def _wait_for_claim(self) -> Claim | None:
        claims: list[Claim] = []
        waits = 0
        while not self._stop.is_set():
            if not self._persist(lambda: claims.extend(filter(None, [self._writer.try_claim()]))):
                return None
            if claims:
                return claims[0]
            if waits == 0:
                _log.warning("another ingester writes this store; waiting until it ends")
            waits += 1
            self.stats.report("standby", dict)
            self._stop.wait(_MAX_BACKOFF_S)
        return None

    def _wait_for_partitions(self) -> list[TopicPartition]:
        attempt = 0
        while not self._stop.is_set():
            partitions = self._partitions()
            missing = [t.topic for t in FEATURE_TOPICS if t.topic not in {part.topic for part in partitions}]
            if not missing:
                return partitions
            if attempt == 0:
                _log.warning("no topic %s yet; `headrace topics create` makes them", ", ".join(missing))
            self._stop.wait(backoff_s(attempt))
            attempt += 1
        return []

    def _partitions(self) -> list[TopicPartition]:
        return [
            TopicPartition(entry.topic, partition)
            for entry in FEATURE_TOPICS
            for partition in sorted(self._consumer.partitions_for_topic(entry.topic) or ())
        ]

    def _assign(self, partitions: Sequence[TopicPartition], offsets: Mapping[str, int]) -> None:
        self._consumer.assign(partitions)
        for part in partitions:
            offset = offsets.get(f"{part.topic}:{part.partition}")
            if offset is None:
                self._consumer.seek_to_beginning(part)
            else:
                self._consumer.seek(part, offset)
        self._last_partitions_s = time.monotonic()

    def lag(self) -> dict[str, int]:
        """Return the records not yet read, by topic, as of the last fetch."""
        lag = dict.fromkeys(TOPIC_BY_NAME, 0)
        for part in self._consumer.assignment():
            newest = self._consumer.highwater(part)
            if newest is not None:
                lag[part.topic] += max(0, newest - self._consumer.position(part))
        return lag
