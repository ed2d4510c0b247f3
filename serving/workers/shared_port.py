"""A port that this server's processes share, and nobody else."""

from __future__ import annotations

import socket
from typing import Any

from features.errors import StartupError
from features.security.listening import checked_address


class SharedPort:
    """Holds a port from before the first worker listens until after the last one; takes no connections itself.

    Args:
        address: `host:port`; port 0 takes a free one.
        option: who gave it, for the error.

    Raises:
        StartupError: it cannot be used, or something listens there already: the kernel would share it with us.
    """

    def __init__(self, address: str, option: str) -> None:
        host, _, port = checked_address(address, option).rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family: int = found[0][0]
            place: Any = found[0][4]
            with _bound(family, place, shares=False) as alone:  # Fails where anybody listens.
                place = (place[0], alone.getsockname()[1], *place[2:])
            self._socket = _bound(family, place, shares=True)
        except OSError as error:
            raise StartupError(f"cannot listen on {address}: the port is taken or not ours; choose another") from error
        self.address = f"{host}:{place[1]}"

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


def _bound(family: int, place: Any, *, shares: bool) -> socket.socket:
    """Return a socket that is bound but does not listen, so that the kernel gives it no connection."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections that just ended are in nobody's way.
        if shares:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(place)
    except BaseException:
        made.close()
        raise
    return made
