"""No attempt of Kafka's client to connect leaves a socket to the collector: warnings are errors in every test."""

from __future__ import annotations

import socket
import types
from collections.abc import Generator

import pytest
from kafka.errors import KafkaConnectionError
from kafka.net.inet import KafkaNetSocket


class Waiting:
    """An event loop on which nothing ever happens."""

    @types.coroutine
    def wait_write(self, _sock: socket.socket, timeout_at: float | None = None) -> Generator[None, None, None]:
        """Wait."""
        yield


def test_a_given_up_attempt_closes_its_socket() -> None:
    """The client is closed while it connects."""
    with socket.socket() as server, socket.socket() as queued, socket.socket() as trying:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        queued.connect(server.getsockname())  # The one place to wait is taken, and nobody accepts.
        trying.setblocking(False)
        attempt = KafkaNetSocket().sock_connect(Waiting(), trying, server.getsockname())
        attempt.send(None)
        assert trying.fileno() >= 0
        attempt.close()
        assert trying.fileno() == -1


def test_a_refused_attempt_closes_its_socket() -> None:
    """Nobody listens."""
    with socket.socket() as server, socket.socket() as trying:
        server.bind(("127.0.0.1", 0))
        with pytest.raises(KafkaConnectionError):
            KafkaNetSocket().sock_connect(Waiting(), trying, server.getsockname()).send(None)
        assert trying.fileno() == -1
