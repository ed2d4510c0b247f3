"""TLS in front of a server that has none, as a sidecar would do it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.serving.secure_parts import Certificates


@contextmanager
def tls_in_front(port: int, certificates: Certificates) -> Iterator[int]:
    """Listen on a free port, ask for a client certificate, and hand what comes to a plain port; yields the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.path("ca.pem"))
    context.load_cert_chain(certificates.path("server.pem"), certificates.path("server.key"))
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, context), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=_connect, args=(raw, port, context), daemon=True).start()


def _connect(raw: socket.socket, port: int, context: ssl.SSLContext) -> None:
    """Hand bytes over in both directions until one side closes."""
    with (
        contextlib.suppress(OSError),
        raw,
        context.wrap_socket(raw, server_side=True) as outer,
        socket.create_connection(("127.0.0.1", port)) as inner,
    ):
        back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
        back.start()
        _pump(outer, inner)
        inner.shutdown(socket.SHUT_RDWR)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
