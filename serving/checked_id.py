"""What every id must be that comes in with a call."""

from __future__ import annotations

from serving.errors import RequestError

MAX_ID_BYTES = 128
_FIRST_PRINTABLE, _DELETE = 32, 127


def check_id(field: str, value: str) -> None:
    """Check an id.

    Raises:
        RequestError: it is empty, too long or has control characters.
    """
    size = len(value.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise RequestError(f"{field} has {size} bytes; send 1 to {MAX_ID_BYTES}")
    if any(ord(char) < _FIRST_PRINTABLE or ord(char) == _DELETE for char in value):
        raise RequestError(f"{field} {value!r:.80} has control characters; send printable UTF-8")
