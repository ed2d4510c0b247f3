"""The id of the request in work: drawn where it comes in, found in its answer, its log lines and its trace."""

from __future__ import annotations

import random
from contextvars import ContextVar

_draw_bits = random.SystemRandom().getrandbits
"""Request ids must differ between processes that started from one image."""

REQUEST_ID: ContextVar[str] = ContextVar("headrace_request_id", default="")
"""Empty outside of requests."""


def new_request_id() -> str:
    """Return 128 random bits as 32 hex digits."""
    return f"{_draw_bits(128):032x}"
