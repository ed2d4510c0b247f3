"""How a client of ours encrypts and whom it trusts."""

from __future__ import annotations

import ssl


def client_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Return a context that proves the server, and shows a certificate of our own where there is one.

    Args:
        ca: PEM certificates that prove the server; empty: those of the machine.
        certificate: PEM file with our own chain; empty: none.
        key: PEM file with its key; empty: it stands in the same file.

    Raises:
        OSError: a file cannot be read, or is no certificate.
    """
    context = ssl.create_default_context(cafile=ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate, key or None)
    return context
