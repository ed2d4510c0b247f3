"""Which port each part listens on: fixed ones from the configuration, or free ones."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Literal

import psutil

from compose.config import PortsConfig
from compose.errors import PortTakenError

HOST = "127.0.0.1"
_KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT, _TRIES = 15_000, 500
"""Ports of well-known servers lie below, mostly."""
PortMode = Literal["auto", "default"]


def is_free(port: int) -> bool:
    """Say whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As every server of the stack does: a connection in TIME_WAIT does not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, promised: Collection[int] = ()) -> list[int]:
    """Return `count` different free ports, of those that the kernel does not hand out by itself.

    What it hands out is soon somebody else's: Flink's own servers took one between its choice and Kafka's start.

    Args:
        count: how many.
        promised: ports that are given to somebody who does not listen on them yet.
    """
    ports: list[int] = []
    with ExitStack() as held:
        for port in _candidates():
            if len(ports) == count:
                break
            if port in promised:
                continue
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            ports.append(int(probe.getsockname()[1]))
    return ports


def first_port_of_the_kernel() -> int:
    """Return where the range begins that the kernel hands out; 0 where it does not say."""
    try:
        return int(_KERNEL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):  # Not Linux.
        return 0


def _candidates() -> Iterator[int]:
    """Yield ports below the kernel's own range in an order of chance, then 0 for any, without end."""
    below = range(_FIRST_PORT, first_port_of_the_kernel())
    yield from random.SystemRandom().sample(below, min(len(below), _TRIES))
    yield from repeat(0)


def holder_of(port: int) -> str:
    """Name the process that listens on `port`, as far as this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another process"


def choose_ports(mode: PortMode, config: PortsConfig, remembered: Path) -> dict[str, int]:
    """Return a port for every name in `PortsConfig`.

    Args:
        mode: `default` takes the configured ports, `auto` free ones.
        config: The configured ports.
        remembered: Where `auto` keeps its choice, so that a stack gets its addresses again where they are still free.

    Raises:
        PortTakenError: `default`, and a port is in use.
    """
    if mode == "default":
        ports: dict[str, int] = config.model_dump()
        for name, port in ports.items():
            if not is_free(port):
                raise PortTakenError(
                    f"port {port} ({name}) is taken by {holder_of(port)}; stop that, set stack.ports.{name} in "
                    "headrace.yaml, or use --ports auto"
                )
        return ports
    ports = _remembered_ports(remembered)
    missing = [name for name in PortsConfig.model_fields if name not in ports or not is_free(ports[name])]
    ports |= dict(zip(missing, free_ports(len(missing), ports.values()), strict=True))
    remembered.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def _remembered_ports(path: Path) -> dict[str, int]:
    try:
        ports = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return {name: int(port) for name, port in ports.items() if name in PortsConfig.model_fields}
