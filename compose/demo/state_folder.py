"""Where a demo keeps its stack: a folder that is empty at the start, so that no run learns from the one before."""

from __future__ import annotations

import shutil
from pathlib import Path

from compose.demo.errors import DemoError
from compose.errors import StackRunningError
from compose.local_stack import is_stack_running

_MARK = "made-by-headrace-demo"
_SUBFOLDER = "demo"


def prepare_state_folder(wanted: Path) -> Path:
    """Return an empty folder of the demo's own: `wanted` where it is new or a demo made it, else one inside it.

    Only a folder that carries the demo's mark is ever emptied.

    Raises:
        StackRunningError: a stack runs in it.
        DemoError: it cannot be made.
    """
    folder = wanted if _is_ours(wanted) else wanted / _SUBFOLDER
    if is_stack_running(folder):
        raise StackRunningError(
            f"a stack already runs in {folder}; end it with `headrace down --state {folder}`, or use it with "
            f"`headrace demo --endpoints {folder / 'endpoints.json'}`"
        )
    try:
        if _is_ours(folder) and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
    except OSError as error:
        raise DemoError(
            f"cannot prepare the state folder {folder}: {error.strerror}; choose another with --state"
        ) from error
    return folder


def _is_ours(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir()) or (folder / _MARK).exists()
