"""The JSON files by which parts tell of themselves in the state directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_state_file(path: Path) -> dict[str, Any]:
    """Return what a part wrote of itself; empty where it never did."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
