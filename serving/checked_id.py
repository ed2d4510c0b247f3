"""What every id must be that comes in with a call."""

from __future__ import annotations

import re

from serving.errors import RequestError

MAX_ID_BYTES = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_id(field: str, value: str) -> None:
    """Check an id.

    Raises:
        RequestError: it is empty, too long or has control characters.
    """
    size = len(value.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise RequestError(f"{field} has {size} bytes; send 1 to {MAX_ID_BYTES}")
    if _CONTROL.search(value):
        raise RequestError(f"{field} {value!r:.80} has control characters; send printable UTF-8")
