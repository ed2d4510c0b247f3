"""What a topic no longer holds although the trainer wanted it: told, counted for good, never skipped in silence."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

RETENTION, TRUNCATED, RECREATED, MISSING, CHANGED = "retention", "truncated", "recreated", "missing", "changed"
_MEANINGS = {
    RETENTION: "deleted by retention before they were read",
    TRUNCATED: "the topic ends before the place this trainer had reached: read again from its beginning",
    RECREATED: "the topic was deleted and made anew: read from its beginning",
    MISSING: "named by the batch log and no longer in the topic: the batch is learnt without them",
    CHANGED: "not the records that were learnt at first: weights differ from those published before",
}
_RECENT = 20

logger = logging.getLogger(__name__)


class Gap(msgspec.Struct, frozen=True):
    """One range of offsets [first, end) of one partition."""

    name: str
    """`topic:partition`."""
    first: int
    end: int
    reason: str
    """`retention`, `truncated`, `recreated`, `missing` or `changed`."""
    lost: int = 0
    """Records known to be lost to the model; 0 where nobody can know."""
    resume: int = -1
    """Offset at which reading goes on; -1 where it goes on as before."""
    topic_id: str = ""
    """Of the topic as it is now, where the gap is that it became another."""

    def __str__(self) -> str:
        return f"{self.name} {self.first}..{self.end}: {_MEANINGS.get(self.reason, self.reason)} ({self.lost} lost)"


class _Saved(msgspec.Struct):
    count: int = 0
    lost: int = 0
    recent: list[Gap] = []


class GapLedger:
    """All gaps since the trainer first learnt: their number, the records they cost, and the newest ones."""

    def __init__(self) -> None:
        self._saved = _Saved()

    @property
    def count(self) -> int:
        """Gaps so far."""
        return self._saved.count

    @property
    def lost(self) -> int:
        """Records that they cost."""
        return self._saved.lost

    def note(self, gap: Gap) -> None:
        """Count a gap and say it."""
        logger.error("gap: %s", gap)
        self._saved.count += 1
        self._saved.lost += gap.lost
        self._saved.recent = [*self._saved.recent, gap][-_RECENT:]

    def saved(self) -> dict[str, Any]:
        """Return everything, for checkpoint and status."""
        content: dict[str, Any] = msgspec.to_builtins(self._saved)
        return content

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `saved` returned."""
        self._saved = msgspec.convert(content, _Saved)
