"""One connection to Redis for commands that are packed already: a transaction costs one write and one read.

redis-py's pipeline packs a command argument by argument, 10 us a row; here a row is packed by one formatting call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionError as RedisConnectionError
from redis import RedisError, WatchError


def pack_command(*arguments: bytes | str | int) -> bytes:
    """Return a command in Redis' protocol."""
    encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in arguments]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in encoded)


def check_executed(answers: Any) -> list[Any]:
    """Return the answers of an EXEC.

    Raises:
        redis.WatchError: a watched key changed; nothing was done.
        redis.RedisError: one of the commands was refused; the others were done.
    """
    if answers is None:
        raise WatchError("a watched key changed")
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return list(answers)


class RedisChannel:
    """Sends packed commands and reads their answers; after any error the next call starts on a fresh connection.

    Args:
        client: a `redis.Redis`, `decode_responses` off; its timeouts bound each wait.
    """

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None

    def ask(self, *commands: bytes) -> list[Any]:
        """Return the answers of `commands`, in order.

        Raises:
            redis.RedisError: the store did not answer, or refused a command.
        """
        self.send(*commands)
        return self.receive(len(commands))

    def transact(self, *commands: bytes) -> list[Any]:
        """Run `commands` all or none, if no watched key changed.

        Raises:
            redis.WatchError: a watched key changed; nothing was done.
            redis.RedisError: the store did not answer (whether it has written is open), or refused a command.
        """
        self.send(MULTI, *commands, EXEC)
        return check_executed(self.receive(len(commands) + 2)[-1])

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._connection = None

    def send(self, *packed: bytes) -> None:
        """Send commands without waiting; what they answer must be read with `receive` before anything else is sent.

        Raises:
            redis.RedisError: the store does not take them; how much of them it has is open.
        """
        with self._closed_on_error():
            if self._connection is None:
                self._connection = self._pool.get_connection()
            self._connection.send_packed_command([b"".join(packed)])

    def receive(self, num_answers: int) -> list[Any]:
        """Wait for the next answers; those within a transaction that were refused are returned, others raised.

        Raises:
            redis.RedisError: the store did not answer, or refused a command.
        """
        with self._closed_on_error():
            read = self._connection.read_response
            return [read(disable_decoding=True) for _ in range(num_answers)]

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Close after any error: unread answers and watched keys go with the connection."""
        try:
            yield
        except RedisError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise RedisConnectionError(str(error)) from error


MULTI, EXEC = pack_command("MULTI"), pack_command("EXEC")
