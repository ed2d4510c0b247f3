"""The one real stack that a test session shares, and small helpers to act on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from compose.local_stack import LocalStack
from features.config import Endpoints

ROOT = Path(__file__).parents[1]
Value = TypeVar("Value")


@dataclass(frozen=True)
class RunningStack:
    """A started stack with what tests ask of it."""

    local: LocalStack
    config_path: Path
    endpoints: Endpoints


def wait_for(probe: Callable[[], Value | None], what: str, timeout_s: float = 60.0, pause_s: float = 0.05) -> Value:
    """Call `probe` until it returns something true and return that.

    Raises:
        AssertionError: nothing true came within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(pause_s)
    raise AssertionError(f"{what} did not happen within {timeout_s:g} s")
