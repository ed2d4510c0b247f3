"""The proxy of the fault tests does to a connection what it is told, and undoes it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.network_faults import flipped
from tests.faults.tcp_proxy import ProxyProcess, TcpProxy

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


def test_a_line_that_drops_one_way_holds_that_way_alone(proxy: ProxyProcess) -> None:
    """What is asked arrives, what is answered does not, until it passes."""
    with _connect(proxy) as connection:
        _ask(connection, b"before")
        proxy.order("drop down")
        connection.sendall(b"heard")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1024)
        connection.settimeout(30)
        proxy.order("pass")
        assert connection.recv(1024) == b"heard"


def test_who_comes_during_a_stall_is_never_answered(proxy: ProxyProcess) -> None:
    """Old connections go on."""
    with _connect(proxy) as old:
        _ask(old, b"before")
        proxy.order("stall")
        with _connect(proxy) as new:
            new.sendall(b"anybody?")
            new.settimeout(0.3)
            with pytest.raises(TimeoutError):
                new.recv(1024)
        _ask(old, b"after")


def test_a_narrow_line_carries_so_many_bytes_a_second(proxy: ProxyProcess) -> None:
    """Both ways count, so half of it."""
    with _connect(proxy) as connection:
        proxy.order("bandwidth 20000")
        started_s = time.monotonic()
        connection.sendall(b"x" * 10_000)
        left = 10_000
        while left:
            left -= len(connection.recv(left))
        assert time.monotonic() - started_s > 0.4


def test_a_slicing_line_changes_no_byte(proxy: ProxyProcess) -> None:
    """One by one they arrive as they were."""
    with _connect(proxy) as connection:
        proxy.order("slice 1")
        connection.sendall(b"byte by byte")
        assert b"".join(connection.recv(1) for _ in range(12)) == b"byte by byte"


def test_a_corrupting_line_flips_a_bit_in_every_so_many_bytes(proxy: ProxyProcess) -> None:
    """Once on each way: the same bit twice is none, so what one way alone does is told by `flipped`."""
    assert [a != b for a, b in zip(bytes(12), flipped(bytes(12), 5, 4), strict=True)].count(True) == 3
    assert flipped(bytes(12), 0, 4) == flipped(bytes(8), 0, 4) + flipped(bytes(4), 8, 4)
    with _connect(proxy) as connection:
        proxy.order("corrupt 4")
        connection.sendall(bytes(3))
        assert len(connection.recv(3)) == 3


def test_a_limited_line_ends_after_so_many_bytes(proxy: ProxyProcess) -> None:
    """In the middle of what is sent."""
    proxy.order("limit 6")
    with _connect(proxy) as connection:
        _ask(connection, b"1234")
        connection.sendall(b"5678")
        assert connection.recv(1024) == b""


@pytest.mark.parametrize("order", ["", "slow", "slow -1", "drop sideways", "bandwidth inf"])
def test_what_is_no_order_is_refused(order: str) -> None:
    """By a sentence, and nothing changes."""
    with pytest.raises(ValueError, match=r"none of|above 0"):
        TcpProxy("127.0.0.1:1").order(order.split())
