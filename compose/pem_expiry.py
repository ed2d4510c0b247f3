"""When a certificate expires, read from its PEM file: the few bytes of ASN.1 that say so, and nothing more."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from pathlib import Path

_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _CONTEXT_0, _UTC_TIME = 0x30, 0xA0, 0x17
_LONG_FORM = 0x80


def expires_at(path: Path) -> datetime:
    """Return when the first certificate of a file expires.

    Raises:
        ValueError: the file holds none.
        OSError: it cannot be read.
    """
    match = _FIRST.search(path.read_text(encoding="ascii", errors="replace"))
    if match is None:
        raise ValueError(f"{path} holds no PEM certificate")
    try:
        return _not_after(base64.b64decode(match[1]))
    except (IndexError, ValueError, binascii.Error) as error:
        raise ValueError(f"{path} holds no certificate that can be read") from error


def _not_after(der: bytes) -> datetime:
    """Walk Certificate -> tbsCertificate -> validity -> notAfter (RFC 5280, 4.1)."""
    certificate = _content(der, 0, _SEQUENCE)
    body = _content(certificate, 0, _SEQUENCE)
    place = 0
    if body[0] == _CONTEXT_0:  # The version, which certificates of version 1 leave out.
        place = _end(body, place)
    for _ in range(3):  # Serial number, signature algorithm, issuer.
        place = _end(body, place)
    validity = _content(body, place, _SEQUENCE)
    place = _end(validity, 0)
    text = validity[_start(validity, place) : _end(validity, place)].decode("ascii")
    if validity[place] == _UTC_TIME:  # Two digits of a year: 50 and above are of the last century.
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _content(data: bytes, place: int, tag: int) -> bytes:
    if data[place] != tag:
        raise ValueError(f"tag {data[place]:#x} where {tag:#x} should be")
    return data[_start(data, place) : _end(data, place)]


def _start(data: bytes, place: int) -> int:
    length = data[place + 1]
    return place + 2 + (length - _LONG_FORM if length > _LONG_FORM else 0)


def _end(data: bytes, place: int) -> int:
    start = _start(data, place)
    length = data[place + 1]
    size = length if length < _LONG_FORM else int.from_bytes(data[place + 2 : start], "big")
    if start + size > len(data):
        raise ValueError("cut off")
    return start + size
