"""Hand-written stand-ins for what tests must not start: shared by all packages, only ever added to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FakeFuture:
    """A produced record's future that never fails by itself."""

    def __init__(self) -> None:
        self._errbacks: list[Callable[[BaseException], Any]] = []

    def add_errback(self, call: Callable[[BaseException], Any]) -> None:
        """Keep a callback for `fail`."""
        self._errbacks.append(call)

    def fail(self, error: BaseException) -> None:
        """Tell the callbacks that the record was not written."""
        for call in self._errbacks:
            call(error)


class FakeProducer:
    """A Kafka producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.futures: list[FakeFuture] = []
        self.is_closed = False

    def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> FakeFuture:
        """Keep (topic, key, value)."""
        self.records.append((topic, key, value))
        self.futures.append(FakeFuture())
        return self.futures[-1]

    def close(self, timeout: float | None = None) -> None:
        """Remember being closed."""
        self.is_closed = True
