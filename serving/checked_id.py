"""What every id must be that comes in with a call."""

from __future__ import annotations

from features.config import CONTROL_CHARACTER, MAX_ID_BYTES
from serving.errors import RequestError


def check_id(field: str, value: str) -> None:
    """Check an id.

    Raises:
        RequestError: it is empty, too long or has control characters.
    """
    size = len(value.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise RequestError(f"{field} has {size} bytes; send 1 to {MAX_ID_BYTES}")
    if CONTROL_CHARACTER.search(value):
        raise RequestError(f"{field} {value!r:.80} has control characters; send printable UTF-8")
