"""A pin, a rollback or a canary that outlives the process: a restarted server must not quietly follow again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import msgspec

from features.whole_file import replace_file

logger = logging.getLogger(__name__)


class StandingOrder(msgspec.Struct, frozen=True):
    """What holds a server at one version."""

    order: Literal["pin", "rollback", "canary"]
    version: str
    canary: str = ""
    """The version that runs beside it, of a canary; what is left of one is a rollback."""
    why: str = ""
    """What a rollback that nobody ordered has to say."""

    @property
    def reason(self) -> str:
        """Say in words why the server does not follow."""
        if self.order == "canary":
            return f"{self.version} serves beside its canary {self.canary}"
        done = f"pinned at {self.version}" if self.order == "pin" else f"rolled back to {self.version}"
        return f"{done}{f' ({self.why})' if self.why else ''}; unpin to follow again"


class StandingOrderFile:
    """One small JSON file in the state directory.

    Args:
        path: the file; absent while the server follows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> StandingOrder | None:
        """Return the order, None where there is none or the file cannot be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=StandingOrder)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("cannot read the standing order in %s (%s); following versions", self.path, error)
            return None

    def write(self, order: StandingOrder | None) -> None:
        """Keep `order`, or forget the last one; where the disk refuses, the order holds until a restart only.

        Several workers write one file: each the same order, in one step.
        """
        try:
            if order is None:
                self.path.unlink(missing_ok=True)
                return
            replace_file(self.path, msgspec.json.encode(order))
        except OSError as error:
            logger.warning("cannot keep the standing order in %s (%s); a restart will not know it", self.path, error)
