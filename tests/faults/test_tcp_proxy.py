"""The proxy of the fault tests does to a connection what it is told, and undoes it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.tcp_proxy import ProxyProcess

SLOW_S = 0.3


@pytest.fixture
def proxy() -> Iterator[ProxyProcess]:
    """Before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo_all, args=(listener,), daemon=True).start()
        with ProxyProcess(f"127.0.0.1:{listener.getsockname()[1]}") as started:
            yield started


def _echo_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):  # A cut resets this side too.
        while data := connection.recv(1024):
            connection.sendall(data)


def _connect(proxy: ProxyProcess) -> socket.socket:
    host, _, port = proxy.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _ask(connection: socket.socket, text: bytes) -> float:
    started_s = time.monotonic()
    connection.sendall(text)
    assert connection.recv(1024) == text
    return time.monotonic() - started_s


def test_bytes_go_through_and_are_as_late_as_told(proxy: ProxyProcess) -> None:
    """Once each way; then not any more."""
    with _connect(proxy) as connection:
        _ask(connection, b"first")
        proxy.order(f"slow {SLOW_S}")
        assert _ask(connection, b"second") >= 2 * SLOW_S
        proxy.order("pass")
        assert min(_ask(connection, b"third") for _ in range(5)) < SLOW_S


def test_a_hole_swallows_until_it_is_gone(proxy: ProxyProcess) -> None:
    """New connections are taken and hear nothing; later everything arrives."""
    with _connect(proxy) as old:
        _ask(old, b"before")
        proxy.order("hole")
        with _connect(proxy) as new:
            for connection in (old, new):
                connection.sendall(b"lost?")
                connection.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    connection.recv(1024)
                connection.settimeout(30)
            proxy.order("pass")
            assert [connection.recv(1024) for connection in (old, new)] == [b"lost?", b"lost?"]


def test_a_cut_resets_old_and_new(proxy: ProxyProcess) -> None:
    """Until it passes again."""
    with _connect(proxy) as old:
        _ask(old, b"before")
        proxy.order("cut")
        with pytest.raises(OSError, match="reset"):
            old.recv(1024)
    with _connect(proxy) as new, pytest.raises(OSError, match="reset"):
        new.recv(1024)
    proxy.order("pass")
    with _connect(proxy) as again:
        _ask(again, b"after")
