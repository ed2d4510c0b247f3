"""A TCP proxy that can be made to stall, to be slow, or to cut: `python -m tests.faults.tcp_proxy TARGET`.

Prints `READY HOST:PORT`, then takes one order a line on its input and answers `OK`:

    pass          bytes go through
    slow SECONDS  every piece is so late in either direction, as on a long way
    hole          bytes go nowhere and connections are taken, as when a network drops packets; what came is kept, as
                  TCP would send it again
    cut           connections are reset, new ones too
    to HOST:PORT  new connections go there from now on
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

_PIECE_BYTES = 64 * 1024


class TcpProxy:
    """One listener before one target.

    Args:
        target: `host:port`.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._delay_s = 0.0
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int = 0) -> str:
        """Take connections from now on; return the address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def order(self, words: list[str]) -> None:
        """Do as told.

        Raises:
            ValueError: that is no order.
        """
        match words:
            case ["pass"]:
                self._delay_s, self._is_cut = 0.0, False
                self._is_open.set()
            case ["slow", seconds]:
                self._delay_s, self._is_cut = float(seconds), False
                self._is_open.set()
            case ["hole"]:
                self._is_open.clear()
            case ["cut"]:
                self._is_cut = True
                for writer in self._writers:
                    _reset(writer)
            case ["to", target]:
                self._host, _, port = target.rpartition(":")
                self._port = int(port)
            case _:
                raise ValueError(f"{words} is none of: pass, slow SECONDS, hole, cut, to HOST:PORT")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            return _reset(writer)
        await self._is_open.wait()
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return _reset(writer)
        ends = (writer, up_writer)
        self._writers.update(ends)
        try:
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry pieces, each in its own time: a delay must not make a slow line of a long one."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._start(self._deliver(pieces, writer))
        loop = asyncio.get_running_loop()
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(_PIECE_BYTES)
            except OSError:
                piece = b""
            pieces.put_nowait((loop.time() + self._delay_s, piece))

    async def _deliver(self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due_s, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                await self._is_open.wait()
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class ProxyProcess:
    """A proxy in a process of its own, so that a busy test delays nothing.

    Args:
        target: `host:port`.
    """

    def __init__(self, target: str) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "tests.faults.tcp_proxy", target]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.address = self._answer().split()[1]

    def order(self, text: str) -> None:
        """Tell it what to do, and return once it does."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        answer = self._answer()
        assert answer == "OK", answer

    def __enter__(self) -> ProxyProcess:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # Closes the pipes and waits.
            self._process.kill()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


async def main(target: str) -> None:
    """Carry bytes and take orders until the input ends."""
    proxy, orders = TcpProxy(target), asyncio.StreamReader()
    print(f"READY {await proxy.listen()}", flush=True)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        try:
            proxy.order(line.decode().split())
        except ValueError as error:
            print(error, flush=True)
        else:
            print("OK", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
