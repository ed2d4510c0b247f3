"""Reads from Redis on the event loop: one connection, commands of many requests behind one another.

What redis-py spends on a pipeline of two reads is packing argument by argument and locks; here a request is one write
of bytes that are packed but for the user's key, and `hiredis` reads what comes back.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import hiredis

from features.redis_channel import pack_command
from features.redis_connection import RedisSecurity, parse_address, security_of

_CONNECT_S = 1.0
_STALLED_S = 1.0
"""A connection whose oldest question is older than this is given up: who answers is gone or paused."""


Understand = Callable[[list[Any]], Any]
"""Makes something of the answers to one question; what it raises is told to whoever asked."""


class _Connection(asyncio.Protocol):
    """One connection and the questions that wait on it, oldest first."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[float, int, list[Any], Understand, asyncio.Future[Any]]] = deque()
        """When it was asked, how many answers it has, those that came, what is made of them, who waits."""
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # Other event loops have transports of their own kind.
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        while self._waiting:
            future = self._waiting.popleft()[4]
            if not future.done():
                future.set_exception(ConnectionError(f"Redis closed the connection ({error or 'end of stream'})"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._waiting:
            try:
                answer = self._reader.gets()
            except hiredis.ProtocolError as error:
                return self.close(error)
            if answer is False:  # The rest is still on its way.
                return None
            _, wanted, answers, understand, future = self._waiting[0]
            answers.append(answer)
            if len(answers) == wanted:
                self._waiting.popleft()
                if not future.done():
                    _settle(future, answers, understand)
        return None

    def ask(self, packed: bytes, num_answers: int, understand: Understand) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((time.monotonic(), num_answers, [], understand, future))
        if not self._unsent:  # What is asked in one turn of the loop is one write: writes cost more than questions.
            loop.call_soon(self._send)
        self._unsent.append(packed)
        return future

    def _send(self) -> None:
        assert self._transport is not None
        packed, self._unsent = self._unsent, []
        self._transport.write(b"".join(packed))

    def is_stalled(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._waiting[0][0] > _STALLED_S

    def close(self, error: Exception | None = None) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(error)


def _settle(future: asyncio.Future[Any], answers: list[Any], understand: Understand) -> None:
    """Give who waits what is made of the answers, or why nothing is."""
    error = next((answer for answer in answers if isinstance(answer, Exception)), None)
    try:
        if error is not None:
            raise error
        future.set_result(understand(answers))
    except Exception as failure:  # Whatever Redis holds, the connection and the other questions go on.
        future.set_exception(failure)


class RedisReads:
    """Asks Redis, connecting when it must.

    Args:
        address: `host:port`, with TLS and a login where it is a `RedisServer`.
    """

    def __init__(self, address: str) -> None:
        self._host, self._port = parse_address(address)
        self._security = security_of(address)
        self._connection = _Connection()
        self._connecting: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection.is_open

    async def connect(self) -> None:
        """Connect where there is no connection, or one that nobody answers on; callers share one try.

        Raises:
            OSError: nobody listens, or not to us: no trust in the certificate, no login.
            TimeoutError: nobody answers.
        """
        if self._connection.is_open and not self._connection.is_stalled():
            return
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._reconnect(), name="connect to Redis")
        await asyncio.shield(self._connecting)

    def ask(self, packed: bytes, num_answers: int, understand: Understand) -> Awaitable[Any]:
        """Send packed commands and return what `understand` makes of their answers.

        On an open connection the question is sent at once, and whoever waits is woken by the answer itself: a task in
        between would cost two more turns of the event loop.

        Raises:
            OSError: nobody listens, or the connection broke.
            TimeoutError: nobody answers.
            hiredis.ReplyError: Redis refused a command.
        """
        if self._connection.is_open and not self._connection.is_stalled():
            return self._connection.ask(packed, num_answers, understand)
        return self._ask_anew(packed, num_answers, understand)

    async def _ask_anew(self, packed: bytes, num_answers: int, understand: Understand) -> Any:
        await self.connect()
        return await self._connection.ask(packed, num_answers, understand)

    def close(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._connection.close()

    async def _reconnect(self) -> None:
        self._connection.close()
        loop, context, login = asyncio.get_running_loop(), None, b""
        async with asyncio.timeout(_CONNECT_S):
            if self._security is not None:
                context, login = await asyncio.to_thread(_read_files, self._security)
            _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=context)
            try:
                if login:
                    await connection.ask(login, 1, lambda _ok: None)
            except BaseException as error:
                connection.close()
                if isinstance(error, hiredis.ReplyError):
                    raise ConnectionError(f"Redis refused the login ({error})") from error
                raise
            self._connection = connection


def _read_files(security: RedisSecurity) -> tuple[ssl.SSLContext | None, bytes]:
    """Return how to encrypt and what logs in, from the files as they are now: they may have been rotated.

    Raises:
        OSError: one cannot be read.
    """
    credentials = security.credentials()
    return security.ssl_context(), pack_command("AUTH", *credentials) if credentials else b""
