"""Checks the addresses a server is told to listen on."""

from __future__ import annotations

import ipaddress

from serving.errors import StartupError


def checked_address(address: str, option: str) -> str:
    """Return `host:port` as given.

    Raises:
        StartupError: it is not `host:port`, or not on loopback.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise StartupError(f"{option} {address!r} is not host:port; write for example 127.0.0.1:50051")
    if not _is_loopback(host.strip("[]")):
        raise StartupError(
            f"{option} {address!r} is not a loopback address; this server has no TLS yet, bind 127.0.0.1 "
            "and put a proxy in front of it"
        )
    return address


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
