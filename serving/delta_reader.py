"""Reads `headrace.deltas.v1`: a thread that follows it from where it is told, and single passes for rebuilding."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError

from trainer.delta_chunks import TOPIC, ChunkJoiner, JoinedDelta
from trainer.version_files import ModelVersion, VersionError

logger = logging.getLogger(__name__)

_POLL_MS = 200
_MAX_RECORDS = 200
_BACKOFF_S = (0.2, 5.0)
_JOIN_S = 3.0
_WAITING_BYTES = 64 << 20
"""Payloads that wait to be applied; the thread reads no further beyond, so that a catch-up does not fill the memory."""
_QUIET_S = 3.0
"""A pass ends when so long nothing came, whatever the broker says of the end: marks of transactions are no records."""
_PART = TopicPartition(TOPIC, 0)

GIVEN_UP = "given_up"
"""Reason of a pass that nobody wanted to its end."""


class Received(NamedTuple):
    """A delta, or why there is none."""

    next_offset: int
    """Where the topic goes on behind it."""
    delta: JoinedDelta | None
    error: VersionError | None = None

    @property
    def version(self) -> ModelVersion | None:
        """What it leads to; None for what is no delta."""
        try:
            return None if self.delta is None else ModelVersion.parse(self.delta.version)
        except VersionError:
            return None

    @property
    def num_bytes(self) -> int:
        """What it takes of the memory."""
        return 0 if self.delta is None else len(self.delta.payload)


class _Wanted:
    """What the thread is told to read; a new one for every order, so that nothing of the last one gets through."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        """Where the next delta begins, so that a reader goes on there after an outage; -1 for nothing."""


class DeltaReader:
    """Follows the topic from a given offset, until it is told another one.

    Args:
        connect: makes a consumer that sees committed records only; called again after a failure.
        name: of the model.
    """

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect = connect
        self._name = name
        self._state = threading.Condition()
        self._wanted = _Wanted(-1)
        self._waiting: deque[Received] = deque()
        self._waiting_bytes = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"read {TOPIC}", daemon=True)
        self._tell: Callable[[], None] = lambda: None
        self.is_connected = False

    def start(self, tell: Callable[[], None]) -> None:
        """Begin; call on the event loop, where `tell` is called when something has come."""
        loop = asyncio.get_running_loop()

        def tell_loop() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell)

        self._tell = tell_loop
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _JOIN_S)

    def read_from(self, offset: int) -> None:
        """Go on at an offset; what waits from before is dropped."""
        self._want(_Wanted(max(0, offset)))

    def pause(self) -> None:
        """Read nothing until the next `read_from`."""
        self._want(_Wanted(-1))

    @property
    def has_news(self) -> bool:
        """Whether something waits to be taken."""
        return bool(self._waiting)

    def take(
        self, most: int, most_bytes: int, kind: Callable[[Received], object] = lambda received: None
    ) -> list[Received]:
        """Return what waits and is of one kind, oldest first: at most so many and so large, but at least one."""
        taken: list[Received] = []
        with self._state:
            size = 0
            while self._waiting and len(taken) < most and (not taken or size < most_bytes):
                if taken and kind(self._waiting[0]) != kind(taken[0]):
                    break
                taken.append(self._waiting.popleft())
                size += taken[-1].num_bytes
            self._waiting_bytes -= size
            self._state.notify_all()
        return taken

    def _want(self, wanted: _Wanted) -> None:
        with self._state:
            self._wanted = wanted
            self._waiting.clear()
            self._waiting_bytes = 0
            self._state.notify_all()

    def _run(self) -> None:
        """Read until stopped; a dead broker costs a pause, never the thread."""
        pause_s = _BACKOFF_S[0]
        while self._wait_for_work():
            started_s = time.monotonic()
            try:
                self._read_until_stopped()
            except (KafkaError, OSError, ValueError) as error:
                logger.warning("reading %s failed (%s); trying again in %.1f s", TOPIC, error, pause_s)
            self.is_connected = False
            with self._state:
                self._state.wait_for(lambda: self._is_stopping, pause_s)
            lasted_s = time.monotonic() - started_s
            pause_s = _BACKOFF_S[0] if lasted_s > 2 * _BACKOFF_S[1] else min(2 * pause_s, _BACKOFF_S[1])

    def _wait_for_work(self) -> bool:
        """Wait until something is wanted and there is room for it; False where the thread shall end."""
        with self._state:
            self._state.wait_for(
                lambda: self._is_stopping or (self._wanted.offset >= 0 and self._waiting_bytes < _WAITING_BYTES)
            )
            return not self._is_stopping

    def _read_until_stopped(self) -> None:
        consumer = self._connect()
        try:
            _assign(consumer)
            self.is_connected = True
            reading: _Wanted | None = None
            joiner = ChunkJoiner(self._name)
            while self._wait_for_work():
                wanted = self._wanted
                if reading is not wanted:
                    reading, joiner = wanted, ChunkJoiner(self._name)
                    consumer.seek(_PART, wanted.offset)
                for record in _polled(consumer):
                    received = _joined(joiner, record)
                    if received is not None:
                        self._hand_over(wanted, received)
        finally:
            consumer.close()

    def _hand_over(self, wanted: _Wanted, received: Received) -> None:
        with self._state:
            if wanted is not self._wanted:  # Told to read elsewhere meanwhile.
                return
            self._waiting.append(received)
            self._waiting_bytes += received.num_bytes
            wanted.offset = received.next_offset
        self._tell()


def deltas_from(
    connect: Callable[[], Any], name: str, offset: int, give_up_s: float, may_go_on: Callable[[], bool]
) -> Iterator[Received]:
    """Yield what stands on the topic from an offset to its present end.

    Args:
        connect: makes a consumer.
        name: of the model.
        offset: of the first one.
        give_up_s: longest time it may take.
        may_go_on: asked before each delta, and several times a second while none comes.

    Raises:
        KafkaError, OSError, ValueError: Kafka does not answer, or has no such topic.
        VersionError: it takes longer than `give_up_s` (`too_slow`), or nobody wants it any more (`given_up`).
    """

    def check() -> None:
        if not may_go_on():
            raise VersionError(GIVEN_UP, "an order came first, or the server stops")
        if time.monotonic() - started_s > give_up_s:
            raise VersionError("too_slow", f"reading the deltas took longer than {give_up_s:g} s")

    started_s = heard_s = time.monotonic()
    consumer = connect()
    try:
        _assign(consumer)
        end = consumer.end_offsets([_PART])[_PART]
        consumer.seek(_PART, max(0, offset))
        joiner = ChunkJoiner(name)
        while consumer.position(_PART) < end and time.monotonic() - heard_s < _QUIET_S:
            check()
            for record in _polled(consumer):
                heard_s = time.monotonic()
                received = _joined(joiner, record)
                if received is not None:
                    check()
                    yield received
    finally:
        consumer.close()


def _assign(consumer: Any) -> None:
    if not consumer.partitions_for_topic(TOPIC):
        raise ValueError(f"topic {TOPIC} does not exist yet; `headrace topics create` makes it")
    consumer.assign([_PART])


def _polled(consumer: Any) -> list[Any]:
    return [
        record
        for records in consumer.poll(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS).values()
        for record in records
    ]


def _joined(joiner: ChunkJoiner, record: Any) -> Received | None:
    """Return the delta that a record completes, or why it cannot be one."""
    if record.value is None:
        return None
    try:
        delta = joiner.add(record.value)
    except VersionError as error:
        return Received(record.offset + 1, None, error)
    return None if delta is None else Received(record.offset + 1, delta)
