"""What a server remembers of versions: their states, why they were refused, which were live before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from trainer.version_files import Manifest, ModelVersion

_KEPT = 500
"""Versions remembered after they left the store."""


class VersionState(Enum):
    """Where a version stands with this server."""

    LOADING = "loading"
    AVAILABLE = "available"
    HELD = "held"
    REJECTED = "rejected"
    UNLOADED = "unloaded"


@dataclass(frozen=True)
class VersionStatus:
    """What this server knows of one version."""

    version: str
    state: VersionState
    reason: str = ""
    loaded_time_ms: int = 0
    manifest: Manifest | None = None


class VersionRecords:
    """Statuses by version, counts of swaps and refusals, and the trail of live versions."""

    def __init__(self) -> None:
        self.swaps = 0
        self.refused: dict[str, int] = {}
        """Reason code -> how often."""
        self.last_refusal = ""
        self._live = ""
        self._trail: list[str] = []
        self._known: OrderedDict[str, VersionStatus] = OrderedDict()

    def status_of(self, version: str) -> VersionStatus:
        """Return what is known of a version; one never looked at is UNLOADED."""
        known = self._known.get(version, VersionStatus(version, VersionState.UNLOADED))
        if known.state is VersionState.AVAILABLE and version != self._live:
            return replace(known, state=VersionState.UNLOADED)
        return known

    def statuses(self, stored: Collection[str]) -> list[VersionStatus]:
        """Return every version in the store or remembered, oldest first."""
        return [self.status_of(name) for name in sorted({*stored, *self._known}, key=ModelVersion.parse)]

    def note(self, version: str, state: VersionState, reason: str = "") -> VersionStatus:
        """Remember a version's state; what was known of its content stays."""
        before = self._known.pop(version, VersionStatus(version, state))
        self._known[version] = replace(before, state=state, reason=reason)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return self._known[version]

    def note_live(self, manifest: Manifest, now_ms: int, is_rollback: bool) -> VersionStatus:
        """Remember a swap; a rollback walks the trail of live versions backwards."""
        version = manifest.version
        if is_rollback and version in self._trail:
            del self._trail[self._trail.index(version) :]
        elif self._live and self._live != version:
            self._trail = [*self._trail[-_KEPT:], self._live]
        self._live = version
        self.swaps += 1
        self.note(version, VersionState.AVAILABLE)
        self._known[version] = replace(self._known[version], loaded_time_ms=now_ms, manifest=manifest)
        return self._known[version]

    def note_refusal(self, version: str, code: str, sentence: str, is_missing: bool) -> None:
        """Count a refusal; the live version stays available, as it is whole in memory; a missing one is forgotten."""
        self.refused[code] = self.refused.get(code, 0) + 1
        self.last_refusal = sentence
        if version == self._live:
            self.note(version, VersionState.AVAILABLE, f"files on disk: {sentence}")
        elif is_missing:
            self._known.pop(version, None)
        else:
            self.note(version, VersionState.REJECTED, sentence)

    def version_before(self, stored: Collection[str]) -> str:
        """Return the newest version that was live before and is still stored; empty where there is none."""
        return next((name for name in reversed(self._trail) if name in stored and name != self._live), "")
