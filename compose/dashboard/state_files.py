"""The status files that the parts write into the state directory once a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.state_file import read_state_file

_PARTS = ("serving", "trainer", "ingester", "quality")
_STALE_MS = 15_000


class StateFiles:
    """What the parts said last.

    Args:
        state_dir: where they write.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._told: dict[str, Mapping[str, Any]] = {name: {} for name in _PARTS}

    def read(self) -> None:
        """Read every file again; one that cannot be read leaves nothing behind."""
        self._told = {name: read_state_file(self._state_dir / f"{name}.json") for name in _PARTS}

    def __getitem__(self, part: str) -> Mapping[str, Any]:
        return self._told[part]

    def silent_parts(self, now_ms: int) -> list[str]:
        """Return the parts whose file is missing or has not been written for 15 s."""
        return [name for name, told in self._told.items() if now_ms - int(told.get("time_ms", 0)) > _STALE_MS]
