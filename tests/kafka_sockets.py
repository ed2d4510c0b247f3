"""Kafka's client leaves the socket of an attempt to connect that failed, or was given up, to the collector.

Seen where a broker refuses, does not answer in time, or a client is closed while it connects: on a busy machine that is
some test, which then fails for a warning about a socket that is not its own. Closed here, so that warnings stay errors.
"""

from __future__ import annotations

import socket
from typing import Any

from kafka.net.inet import KafkaNetSocket

_connect = KafkaNetSocket.sock_connect


async def _connect_or_close(
    self: KafkaNetSocket, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
) -> Any:
    try:
        return await _connect(self, net, sock, sockaddr, timeout_at=timeout_at)
    except BaseException:  # Also where the waiting coroutine is closed.
        sock.close()
        raise


def close_failed_attempts() -> None:
    """Let every client of this process close them."""
    KafkaNetSocket.sock_connect = _connect_or_close
