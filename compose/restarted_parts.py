"""Parts that a command restarts: it ends them, their supervisor starts them again, and the command waits for that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

from compose.errors import PartFailedError
from compose.local_stack import read_status
from compose.processes import ProcessRecord, is_alive
from compose.supervisor import PartState

_POLL_S = 0.2

EndedParts = dict[str, ProcessRecord]
"""Name of a part -> its process that was told to end."""


def end_parts(state: Path, names: Collection[str]) -> EndedParts:
    """Tell the running processes of these parts to end; return them.

    Args:
        state: the stack's state directory.
        names: of parts; those that do not run are passed over.
    """
    ended: EndedParts = {}
    for part in read_status(state).get("parts", []):
        if part["name"] in names and part["process"]:
            record = ProcessRecord.from_json(part["process"])
            if is_alive(record):
                os.kill(record.pid, signal.SIGTERM)
                ended[part["name"]] = record
    return ended


def wait_until_back(state: Path, ended: EndedParts, timeout_s: float) -> None:
    """Wait until each part is ready again as another process: a command that follows must find them.

    Raises:
        PartFailedError: one is not within `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while waiting := [name for name in ended if not _is_back(state, name, ended[name])]:
        if time.monotonic() > deadline_s:
            raise PartFailedError(
                f"{waiting[0]} was ended to read its configuration again and not ready after {timeout_s:g} s; what was "
                f"ordered is done, {state}/logs/{waiting[0]}.log says why it does not start"
            )
        time.sleep(_POLL_S)


def _is_back(state: Path, name: str, ended: ProcessRecord) -> bool:
    for part in read_status(state).get("parts", []):
        if part["name"] == name and part["process"]:
            return part["state"] == PartState.READY and ProcessRecord.from_json(part["process"]) != ended
    return False
