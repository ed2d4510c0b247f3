"""Histories: what clients saw, a JSON line an operation, as Jepsen writes them down.

    {"type": "invoke", ...}   it was begun
    {"type": "ok", ...}       it was done, and this came back
    {"type": "fail", ...}     it was not done
    {"type": "info", ...}     nobody knows: it may have been done, or may yet be

Each `invoke` has an `op` of its own, which its end repeats.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, Literal

End = Literal["ok", "fail", "info"]


class HistoryWriter:
    """Appends to a history; may be called from any thread.

    Args:
        path: made anew.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def invoke(self, op: str, **fields: Any) -> None:
        """Note that something is begun."""
        self._write({"type": "invoke", "op": op, **fields})

    def end(self, op: str, how: End, **fields: Any) -> None:
        """Note how it ended."""
        self._write({"type": how, "op": op, **fields})

    def close(self) -> None:
        """Write what is left."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line | {"time_s": round(time.time(), 4)})
        with self._lock:
            self._file.write(text + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a history."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ends_of(history: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how each operation ended; one that has no end is `info`.

    Raises:
        ValueError: an operation ended twice, or without having begun.
    """
    ends: dict[str, dict[str, Any]] = {}
    open_: dict[str, dict[str, Any]] = {}
    for line in history:
        op = line["op"]
        if line["type"] == "invoke":
            open_[op] = line
        elif op not in open_:
            raise ValueError(f"{op} ended ({line['type']}) without being open")
        else:
            ends[op] = {**open_.pop(op), **line}
    return ends | {op: line | {"type": "info"} for op, line in open_.items()}
