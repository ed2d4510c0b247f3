"""Versions in time: deltas and snapshots as the trainer sent them, held ones, and the orders of ops."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from protos import serving_pb2 as pb
from trainer.delta_chunks import ChunkJoiner, first_chunk_manifest
from trainer.errors import VersionError
from trainer.version_manifest import Manifest

_VERSIONS = 1500
_ORDERS = 200
_PAYLOAD_BYTES = 64 << 20
_PAYLOADS = 40


@dataclass
class VersionEntry:
    """One version as the page shows it."""

    version: str
    kind: str = "snapshot"
    created_ms: int = 0
    state: str = ""
    """Of the server: available, held, rejected, loading, unloaded; empty for a delta that it does not remember."""
    reason: str = ""
    is_live: bool = False
    is_pinned: bool = False
    is_stored: bool = False
    """Whether the server lists it."""
    is_reachable: bool = False
    """Whether a snapshot that is kept leads to it, so that the server can go back to it."""
    loaded_ms: int = 0
    num_items: int = 0
    num_users: int = 0
    payload_bytes: int = 0
    newest_event_ms: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


class OrderRecord(msgspec.Struct):
    """One record of the control topic."""

    order: str
    version: str = ""
    role: str = ""
    time_ms: int = 0
    reason: str = ""


class _Announcement(msgspec.Struct):
    version: str
    created_time_ms: int = 0
    gate: str = ""
    gate_reason: str = ""


class VersionLine:
    """Remembers the newest versions and orders.

    Args:
        name: of the model.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._joiner = ChunkJoiner(name)
        self._entries: OrderedDict[str, VersionEntry] = OrderedDict()
        self._orders: list[OrderRecord] = []
        self._payloads: OrderedDict[str, bytes] = OrderedDict()
        self._whole: set[str] = set()
        """Those that were written as a snapshot."""

    def on_delta(self, value: bytes | None) -> Manifest | None:
        """Take a record of the deltas topic; return the manifest of a delta that begins with it."""
        try:
            manifest = first_chunk_manifest(value or b"")
            joined = self._joiner.add(value or b"")
        except VersionError:  # The server counts and tells it.
            return None
        if manifest is not None and manifest.name == self._name:
            entry = self._entry(manifest.version)
            entry.kind = "snapshot" if manifest.version in self._whole else "delta"
            _describe(entry, manifest)
        else:
            manifest = None
        if joined is not None:
            self._entry(joined.version).payload_bytes = len(joined.payload)
            self._keep(joined.version, joined.payload)
        return manifest

    def on_announcement(self, value: bytes | None) -> None:
        """Take a record of the models topic: a snapshot, or a version that the gate holds."""
        try:
            told = msgspec.json.decode(value or b"", type=_Announcement)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        entry = self._entry(told.version)
        self._whole.add(told.version)
        entry.kind, entry.created_ms = "snapshot", told.created_time_ms or entry.created_ms
        if told.gate == "HELD":
            entry.state, entry.reason = "held", told.gate_reason

    def on_order(self, value: bytes | None) -> None:
        """Take a record of the control topic."""
        try:
            self._orders.append(msgspec.json.decode(value or b"", type=OrderRecord))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        del self._orders[:-_ORDERS]

    def on_statuses(self, statuses: Iterable[pb.ModelVersionStatus]) -> None:
        """Take what the server lists; what it lists no longer is not stored any more."""
        for entry in self._entries.values():
            entry.is_live = entry.is_pinned = entry.is_stored = False
        for status in statuses:
            entry = self._entry(status.version)
            entry.state = pb.ModelState.Name(status.state).removeprefix("MODEL_STATE_").lower()
            entry.reason, entry.is_live, entry.is_pinned = status.reason, status.is_live, status.is_pinned
            entry.is_stored = True
            # It lists snapshots, and the version that serves, which may be a delta, and those that it refused.
            if not status.is_live and entry.state != "rejected":
                self._whole.add(status.version)
                entry.kind = "snapshot"
            entry.created_ms = status.created_time_ms or entry.created_ms
            entry.loaded_ms = status.loaded_time_ms or entry.loaded_ms
            entry.newest_event_ms = status.newest_event_time_ms or entry.newest_event_ms
            entry.metrics = dict(status.metrics) or entry.metrics
            # One that left the memory keeps no time: it stands where its neighbours do.

    def on_live(self, version: str, loaded_ms: int) -> None:
        """Note what serves, as the server's status file says."""
        if version and version in self._entries:
            self._entries[version].loaded_ms = loaded_ms

    def dense_payload(self, version: str) -> bytes | None:
        """Return the delta that led to a version, which holds all its dense weights; None where it is not kept."""
        return self._payloads.get(version)

    def view(self, since_ms: int) -> dict[str, Any]:
        """Return versions since a time, and all that the server can go back to; orders likewise, newest first."""
        chosen = [e for e in self._entries.values() if e.is_stored or e.created_ms >= since_ms or e.state == "held"]
        chosen.sort(key=lambda entry: _number(entry.version), reverse=True)
        self._note_reachable(chosen)
        orders = [msgspec.to_builtins(order) for order in reversed(self._orders)]
        return {"versions": [asdict(entry) for entry in chosen], "orders": orders[:50]}

    def _note_reachable(self, newest_first: Sequence[VersionEntry]) -> None:
        """A version can be made again from a snapshot before it, and the deltas from there."""
        starts: dict[int, int] = {}
        for entry in reversed(newest_first):
            epoch, seq = _number(entry.version)
            if entry.is_stored and entry.version in self._whole and entry.state not in ("held", "rejected"):
                starts.setdefault(epoch, seq)
            entry.is_reachable = seq >= starts.get(epoch, seq + 1) and entry.state not in ("held", "rejected")

    def _entry(self, version: str) -> VersionEntry:
        if version not in self._entries:
            self._entries[version] = VersionEntry(version)
            while len(self._entries) > _VERSIONS:
                old = next((name for name, one in self._entries.items() if not one.is_stored), None)
                if old is None:
                    break
                del self._entries[old]
                self._whole.discard(old)
        return self._entries[version]

    def _keep(self, version: str, payload: bytes) -> None:
        self._payloads[version] = payload
        total = sum(map(len, self._payloads.values()))
        while len(self._payloads) > 1 and (len(self._payloads) > _PAYLOADS or total > _PAYLOAD_BYTES):
            total -= len(self._payloads.popitem(last=False)[1])


def _describe(entry: VersionEntry, manifest: Manifest) -> None:
    entry.created_ms, entry.newest_event_ms = manifest.created_time_ms, manifest.newest_event_time_ms
    entry.num_items, entry.num_users = manifest.num_items, manifest.num_users
    entry.metrics = finite(manifest.metrics)


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that JSON can hold."""
    return {name: value for name, value in metrics.items() if value == value and abs(value) != float("inf")}


def _number(version: str) -> tuple[int, int]:
    epoch, _, seq = version.partition(".")
    return (int(epoch), int(seq)) if epoch.isdigit() and seq.isdigit() else (0, 0)
