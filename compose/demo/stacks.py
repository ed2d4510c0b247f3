"""The stack under a demo: one that ends with it, or one that outlives it (`--keep`)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from compose.daemon import start_daemon, stop_daemon
from compose.demo.errors import DemoError
from compose.demo.freeze import FROZEN_PART, FrozenServer, frozen_server_part
from compose.errors import StackNotRunningError, StackRunningError
from compose.local_stack import LocalStack, is_stack_running, read_status
from compose.supervisor import PartStatus
from features.config import Endpoints, load_endpoints

FOLDER = "demo"
"""Inside the state directory: the demo's own, emptied before every run, so that no run learns from the one before."""
_UP = ("ready", "done")


class DemoStack(Protocol):
    """A stack that can be started and ended."""

    def start(self) -> Endpoints:
        """Start it and wait until it is up."""

    def stop(self) -> None:
        """End it; may be called at any time, and twice."""

    def frozen_server(self) -> FrozenServer | None:
        """Return the second server, None where there is none."""


class StartView:
    """Says which parts are up, and after how long.

    Args:
        say: writes a line.
        clock: seconds that only go forward.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._say = say
        self._clock = clock
        self._started_s = clock()
        self._up: set[str] = set()

    def show(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Say what came up since the last call; `parts` as `status.json` has them."""
        for part in parts:
            if part["state"] in _UP and part["name"] not in self._up:
                self._up.add(part["name"])
                elapsed_s = self._clock() - self._started_s
                self._say(f"  {elapsed_s:5.1f} s  {part['name']} {part['state']}  ({len(self._up)}/{len(parts)})")


class OwnStack:
    """A stack inside this process.

    Args:
        config_path: `headrace.yaml`.
        folder: its state directory.
        view: told what comes up.
        with_frozen_server: run a second server beside the stack's own.
    """

    def __init__(self, config_path: Path, folder: Path, view: StartView, with_frozen_server: bool = False) -> None:
        part, self._frozen_admin_address = frozen_server_part() if with_frozen_server else (None, "")
        self._stack = LocalStack(config_path, folder, extra_parts=[part] if part else ())
        self._view = view

    def start(self) -> Endpoints:
        """Start it and wait until it is up.

        Raises:
            StackError: it did not come up; nothing of it is left then.
        """
        return self._stack.start(self._show)

    def stop(self) -> None:
        """End every part."""
        self._stack.stop()

    def frozen_server(self) -> FrozenServer | None:
        """Return the second server, None where there is none."""
        if not self._frozen_admin_address:
            return None
        return FrozenServer(self._stack.address_of(FROZEN_PART), self._frozen_admin_address)

    def _show(self, statuses: tuple[PartStatus, ...]) -> None:
        self._view.show([{"name": status.name, "state": status.state.value} for status in statuses])


class KeptStack:
    """A stack like that of `headrace up`, with a supervisor of its own that outlives this process.

    Args:
        config_path: `headrace.yaml`.
        folder: its state directory.
        view: told what comes up.
    """

    def __init__(self, config_path: Path, folder: Path, view: StartView) -> None:
        self._config_path = config_path
        self._folder = folder
        self._view = view

    def start(self) -> Endpoints:
        """Start it and wait until it is up.

        Raises:
            StackError: it did not come up; nothing of it is left then.
        """
        start_daemon(self._config_path, self._folder, "auto", "replay", self._view.show)
        return load_endpoints(self._folder / "endpoints.json")

    def stop(self) -> None:
        """End the supervisor and with it every part."""
        with suppress(StackNotRunningError):
            stop_daemon(self._folder)

    def frozen_server(self) -> None:
        """Return None: this stack has the parts of `headrace up` only."""


def prepare_folder(state_dir: Path) -> Path:
    """Return the demo's own state directory inside `state_dir`, empty.

    Raises:
        StackRunningError: a stack runs in it.
        DemoError: it cannot be made.
    """
    folder = state_dir.resolve() / FOLDER
    if is_stack_running(folder):
        raise StackRunningError(
            f"a stack already runs in {folder}; end it with `headrace down --state {folder}`, or use it with "
            f"`headrace demo --endpoints {folder / 'endpoints.json'}`"
        )
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise DemoError(
            f"cannot prepare the state folder {folder}: {error.strerror}; choose another with --state"
        ) from error
    return folder


def restarts_in(folder: Path) -> dict[str, int]:
    """Return how often each part was started again, as the supervisor last wrote it."""
    return {part["name"]: int(part["restarts"]) for part in read_status(folder).get("parts", [])}
