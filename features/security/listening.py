"""Where a port may listen, and how: addresses, certificates, who must be known before others can reach it."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from features.errors import StartupError
from features.security.config import TlsConfig
from features.security.role import Role
from features.security.token_file import Tokens


def checked_address(address: str, option: str) -> str:
    """Return `host:port` as given.

    Raises:
        StartupError: it is not `host:port`.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise StartupError(f"{option} {address!r} is not host:port; write for example 127.0.0.1:50051")
    return address


def is_loopback(address: str) -> bool:
    """Say whether only this machine can reach `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_public(address: str, option: str, role: Role, tls: TlsConfig | None, tokens: Tokens) -> None:
    """Guard a role whose port others can reach; loopback needs neither TLS nor tokens.

    Raises:
        StartupError: there is no TLS, or no valid token of the role.
    """
    if is_loopback(address):
        return
    missing = []
    if tls is None:
        missing.append("TLS (serving.security.tls: certificate, key)")
    if not tokens.count(role):
        missing.append(f"a token (`headrace tokens create NAME --role {role}`)")
    if missing:
        raise StartupError(
            f"{option} {address!r} can be reached from other machines, which needs TLS and a token of role {role}; "
            f"missing: {' and '.join(missing)}; add what is missing, or listen on 127.0.0.1"
        )
    tokens.guard(role)


def ssl_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return the context of an HTTP server.

    Raises:
        StartupError: a file cannot be read or used.
    """
    for field in ("certificate", "key", "client_ca"):
        if getattr(tls, field) is not None:
            read_pem(getattr(tls, field), field)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=str)  # Empty: nobody is asked for one.
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise StartupError(
            f"serving.security.tls: {tls.certificate} and its key or client_ca cannot be used ({error.reason}); "
            "give PEM files, and the key of this certificate"
        ) from error
    return context


def read_pem(path: Path, field: str) -> bytes:
    """Return the content of a file of `serving.security.tls`.

    Raises:
        StartupError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"serving.security.tls.{field}: cannot read {path} ({error.strerror})") from error
