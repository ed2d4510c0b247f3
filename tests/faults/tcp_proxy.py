"""A TCP proxy that can be made to stall, to be slow, to spoil or to cut: `python -m tests.faults.tcp_proxy TARGET`.

Prints `READY HOST:PORT`, then takes one order a line on its input and answers `OK`. The orders are those of
`tests/faults/network_faults.py`, and `to HOST:PORT`: new connections go there from now on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

from tests.faults.network_faults import PIECE_BYTES, Direction, NetworkFault, fault_of, flipped


class TcpProxy:
    """One listener before one target.

    Args:
        target: `host:port`.
        seed: of the jitter.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._fault = NetworkFault()
        self._random = random.Random(seed)
        self._is_passing: dict[Direction, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._change(NetworkFault())
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
            case ["to", target]:
                self._host, _, port = target.rpartition(":")
                self._port = int(port)
            case _:
                self._change(fault_of(words))

    def _change(self, fault: NetworkFault) -> None:
        self._fault = fault
        for direction, event in self._is_passing.items():
            (event.clear if direction in fault.blocked else event.set)()
        if fault.is_cut:
            for writer in self._writers:
                _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault.is_cut:
            return _reset(writer)
        if self._fault.is_stalling:
            return await self._stall(reader, writer)
        for event in self._is_passing.values():
            await event.wait()
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return _reset(writer)
        ends = (writer, up_writer)
        self._writers.update(ends)
        try:
            await asyncio.gather(self._pump(reader, up_writer, "up"), self._pump(up_reader, writer, "down"))
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _stall(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read and say nothing until the caller goes; it is not let through later either."""
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while await reader.read(PIECE_BYTES):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Carry pieces, each in its own time: a delay must not make a slow line of a long one."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._start(self._deliver(pieces, writer, direction))
        loop = asyncio.get_running_loop()
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE_BYTES)
            except OSError:
                piece = b""
            delay_s = self._fault.delay_s + self._random.uniform(0.0, self._fault.jitter_s)
            pieces.put_nowait((loop.time() + delay_s, piece))

    async def _deliver(
        self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while True:
                due_s, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
                if not piece or not await self._write(piece, carried, writer, direction):
                    break
                carried += len(piece)
        await asyncio.sleep(self._fault.close_delay_s)
        writer.close()

    async def _write(self, piece: bytes, carried: int, writer: asyncio.StreamWriter, direction: Direction) -> bool:
        """Write a piece as the line lets it through; say whether the connection goes on."""
        while piece:
            await self._is_passing[direction].wait()
            fault = self._fault
            part, piece = piece[: fault.slice_bytes], piece[fault.slice_bytes :]
            if fault.flip_every_bytes:
                part = flipped(part, carried, fault.flip_every_bytes)
            if carried + len(part) > fault.limit_bytes:
                writer.write(part[: max(0, int(fault.limit_bytes) - carried)])
                return False
            writer.write(part)
            await writer.drain()
            carried += len(part)
            await asyncio.sleep(len(part) / fault.bytes_per_s)
        return True

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
