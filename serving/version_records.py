"""What a server remembers of versions: their states, and why they were refused."""

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


_TOLD = (VersionState.LOADING, VersionState.HELD, VersionState.REJECTED)
"""States that matter where the files are gone."""


@dataclass(frozen=True)
class VersionStatus:
    """What this server knows of one version."""

    version: str
    state: VersionState
    reason: str = ""
    loaded_time_ms: int = 0
    manifest: Manifest | None = None


class VersionRecords:
    """Statuses of snapshots, of the live version and of refused ones; counts of swaps and refusals.

    Deltas go live twice a second: of those only the live one is remembered, and the refused.
    """

    def __init__(self) -> None:
        self.swaps = 0
        self.refused: dict[str, int] = {}
        """Reason code -> how often."""
        self.last_refusal = ""
        self._live: VersionStatus | None = None
        self._known: OrderedDict[str, VersionStatus] = OrderedDict()

    @property
    def live_created_ms(self) -> int:
        """When the live version was made; 0 without one."""
        return 0 if self._live is None or self._live.manifest is None else self._live.manifest.created_time_ms

    def status_of(self, version: str) -> VersionStatus:
        """Return what is known of a version; one never looked at is UNLOADED."""
        if self._live is not None and version == self._live.version:
            return self._live
        known = self._known.get(version, VersionStatus(version, VersionState.UNLOADED))
        return replace(known, state=VersionState.UNLOADED) if known.state is VersionState.AVAILABLE else known

    def statuses(self, stored: Collection[str]) -> list[VersionStatus]:
        """Return every version that is in the store, live, held or refused, oldest first."""
        live = [] if self._live is None else [self._live.version]
        told = [name for name, status in self._known.items() if status.state in _TOLD]
        return [self.status_of(name) for name in sorted({*stored, *told, *live}, key=ModelVersion.parse)]

    def note(self, version: str, state: VersionState, reason: str = "") -> VersionStatus:
        """Remember a version's state; what was known of its content stays, and the live one stays available."""
        if self._live is not None and version == self._live.version:
            self._live = replace(self._live, reason=reason)
            return self._live
        before = self._known.pop(version, VersionStatus(version, state))
        self._known[version] = replace(before, state=state, reason=reason)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return self._known[version]

    def forget(self, version: str) -> VersionStatus:
        """Remember nothing of a version that is neither here nor refused, and return that."""
        self._known.pop(version, None)
        return self.status_of(version)

    def note_live(self, manifest: Manifest, now_ms: int, is_delta: bool = False, reason: str = "") -> VersionStatus:
        """Remember a swap; of a snapshot also when it has left again."""
        before = self._live
        if before is not None and before.version in self._known:
            self._known[before.version] = replace(before, reason="")
        version = manifest.version
        self._live = VersionStatus(version, VersionState.AVAILABLE, reason, now_ms, manifest)
        self._known.pop(version, None)
        if not is_delta:
            self._known[version] = self._live
        self.swaps += 1
        return self._live

    def note_refusal(self, version: str, code: str, sentence: str, is_missing: bool) -> None:
        """Count a refusal; the live version stays available, as it is whole in memory; a missing one is forgotten."""
        self.refused[code] = self.refused.get(code, 0) + 1
        self.last_refusal = sentence
        if self._live is not None and version == self._live.version:
            self.note(version, VersionState.AVAILABLE, f"files on disk: {sentence}")
        elif is_missing or not version:
            self._known.pop(version, None)
        else:
            self.note(version, VersionState.REJECTED, sentence)
