"""What a token is good for."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """One role a token."""

    RECOMMEND = "recommend"
    """Ask for lists."""
    ADMIN = "admin"
    """Look at versions and order the server."""
    METRICS = "metrics"
    """Read a metrics port."""
