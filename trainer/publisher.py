"""Publishes versions: a snapshot that opens a chain, deltas that continue it, now and then a snapshot of where it is.

Writing and sending run in a thread of their own, one version at a time: learning never waits for a disk or for Kafka.
A snapshot stands in the store before it is announced; a delta is its own announcement. While Kafka is away the newest
delta waits, and what is learnt meanwhile goes into the one after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from trainer.delta_chunks import chunk_records
from trainer.durable_files import remove_leftovers
from trainer.errors import FencedError
from trainer.version_cut import Cut, delta_of
from trainer.version_delta import decode_delta, digest_of, encode_delta
from trainer.version_files import (
    Manifest,
    ModelVersion,
    Version,
    VersionError,
    list_versions,
    prune_versions,
    read_manifest,
    write_version,
)
from trainer.version_image import VersionImage
from trainer.version_topics import MODELS_TOPIC as TOPIC
from trainer.version_topics import VersionTopics

__all__ = ["HELD", "PASSED", "TOPIC", "Announcement", "Publisher", "next_epoch"]

PASSED, HELD = "PASSED", "HELD"

logger = logging.getLogger(__name__)


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """One message on `headrace.models.v1`; the schema of record is `protos/models.proto`."""

    name: str
    version: str
    parent_version: str
    snapshot_uri: str
    manifest_sha256: str
    created_time_ms: int
    newest_event_time_ms: int
    newest_broker_time_ms: int
    sample_offsets: dict[str, int]
    gate: str
    gate_reason: str = ""


class Publisher:
    """The one writer of a model's directory in the store and of its chain of deltas.

    Args:
        store_dir: `MODEL_STORE/NAME`.
        topics: where announcements and deltas go.
        keep_snapshots: newest snapshots kept, beside pinned ones.
        snapshot_interval_s: time between snapshots of a chain.
        make_durable: called before a version becomes visible; returns once what it was learnt from is on disk.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        store_dir: Path,
        topics: VersionTopics,
        keep_snapshots: int,
        snapshot_interval_s: float,
        make_durable: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store_dir = store_dir
        self._topics = topics
        self._make_durable = make_durable
        self._keep_snapshots = keep_snapshots
        self._snapshot_interval_s = snapshot_interval_s
        self._clock_s = clock_s
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publish")
        self._in_flight: Future[None] | None = None
        self._image: VersionImage | None = None
        self._unannounced: Announcement | None = None
        self._unsent: list[bytes] = []
        """Chunks of the newest delta until the broker has them."""
        self._unsent_since_s = self._snapshot_s = clock_s()
        self.last_version = ""
        """Newest version that is in the store or on its way to the servers."""
        self.last_snapshot = ""
        """Newest snapshot in the store by this publisher."""
        self.last_write_ms = 0.0
        """How long the newest snapshot took to write."""
        self.last_delta_bytes = 0
        self.last_delta_ms = 0.0
        """How long the newest delta took, from the cut to the broker's word."""
        self.deltas = 0
        self.delta_bytes = 0
        """Of all deltas."""
        self.snapshots = 0
        self.snapshot_bytes = 0
        """Of the newest snapshot."""
        self.held = 0
        """Versions that the gate held."""
        self.failed = 0
        """Tries that ended in an error."""
        self.fence: FencedError | None = None
        """Why this publisher may not publish any more."""
        remove_leftovers(store_dir)

    @property
    def is_busy(self) -> bool:
        """Whether a version is being written or sent right now."""
        return self._in_flight is not None and not self._in_flight.done()

    @property
    def has_unsent(self) -> bool:
        """Whether an announcement or a delta still waits for Kafka."""
        return self._unannounced is not None or bool(self._unsent)

    @property
    def needs_snapshot(self) -> bool:
        """Whether the next version must open a chain: there is none, or its newest delta has waited for too long."""
        has_waited = self._clock_s() - self._unsent_since_s >= self._snapshot_interval_s
        return self._image is None or (bool(self._unsent) and has_waited)

    def publish(self, version: Version, gate_reason: str = "") -> None:
        """Begin to publish a whole version, which opens a chain; only while not busy.

        Args:
            version: not touched by anyone afterwards.
            gate_reason: why it must not serve; empty where it may.
        """
        assert not self.is_busy
        self._in_flight = self._worker.submit(self._publish, version, gate_reason)

    def publish_delta(self, cut: Cut) -> None:
        """Begin to publish what changed since the version before; only while not busy and nothing is unsent."""
        assert not self.is_busy
        assert not self._unsent
        self._in_flight = self._worker.submit(self._publish_delta, cut, self._clock_s())

    def retry(self) -> None:
        """Begin to send again what Kafka did not take; only while not busy."""
        assert not self.is_busy
        self._in_flight = self._worker.submit(self._try_send)

    def wait(self, timeout_s: float) -> None:
        """Wait until nothing is in flight, at most `timeout_s`."""
        if self._in_flight is not None:
            wait([self._in_flight], timeout=timeout_s)

    def close(self) -> None:
        """End the thread after what is in flight."""
        self._worker.shutdown(wait=True)

    def _publish(self, version: Version, gate_reason: str) -> None:
        self._image, self._unsent = None, []
        offset = self._deltas_end()
        manifest = msgspec.structs.replace(version.manifest, delta_sha256="", delta_offset=offset)
        image = VersionImage(version)
        digest = self._write(image, manifest)
        if not digest:
            return
        self.last_version = manifest.version
        if gate_reason:
            self.held += 1
            logger.error("version %s is held: %s", manifest.version, gate_reason)
        else:
            image.digest = digest
            self._image = image
        self._unannounced = self._announcement(manifest, digest, gate_reason)
        self._try_send()

    def _publish_delta(self, cut: Cut, cut_s: float) -> None:
        assert self._image is not None
        try:
            self._make_durable()
            payload = encode_delta(delta_of(cut, self._image))
            delta = decode_delta(payload)  # As readers will: what they would refuse is not sent.
            self._image.apply(delta, digest_of(payload))
        except (OSError, VersionError) as error:
            self.failed += 1
            self._image = None  # What was touched is known to nobody any more: the next version is whole.
            logger.error("version %s is not published: %s", cut.manifest.version, error)
            return
        manifest = delta.manifest
        self._unsent = chunk_records(manifest.name, manifest.version, manifest.parent_sha256, payload)
        self._unsent_since_s = cut_s
        self.last_version, self.last_delta_bytes = manifest.version, len(payload)
        self._try_send()

    def _try_send(self) -> None:
        """Send what waits, in its order; then write a snapshot where one is due."""
        try:
            self._announce()
            if self._unsent:
                assert self._image is not None
                offset = self._topics.send_delta(self._image.manifest.name, self._unsent)
                self._note_sent()
                self._write_when_due(offset)
        except FencedError as error:
            self.fence = error
        except Exception as error:  # Whatever the client raises: the version stays and is sent later.
            self.failed += 1
            logger.warning("version %s is not with the servers yet: %s", self.last_version, error)

    def _note_sent(self) -> None:
        self._unsent = []
        self.deltas += 1
        self.delta_bytes += self.last_delta_bytes
        self.last_delta_ms = 1000.0 * (self._clock_s() - self._unsent_since_s)

    def _write_when_due(self, offset: int) -> None:
        """Write and announce where the chain is, so that who comes anew need not follow it from its beginning."""
        if self._image is None or self._clock_s() - self._snapshot_s < self._snapshot_interval_s:
            return
        manifest = msgspec.structs.replace(
            self._image.manifest, parent_sha256="", delta_sha256=self._image.digest, delta_offset=offset
        )
        digest = self._write(self._image, manifest)
        if digest:
            self._unannounced = self._announcement(manifest, digest, "")
            self._announce()

    def _announce(self) -> None:
        """Tell of the snapshot that waits for it, where one does; what it makes superfluous goes."""
        if self._unannounced is not None:
            self._topics.announce(self._unannounced.name, msgspec.json.encode(self._unannounced))
            self._unannounced = None
            self._prune()

    def _write(self, image: VersionImage, manifest: Manifest) -> str:
        """Write a snapshot; return the digest of its manifest, empty where the disk or a check refuses."""
        started_s = time.perf_counter()
        try:
            self._make_durable()
            digest = write_version(self._store_dir, image.as_version(manifest))
        except (OSError, VersionError) as error:
            self.failed += 1
            logger.error("version %s is not written: %s", manifest.version, error)
            return ""
        self.last_write_ms = 1000.0 * (time.perf_counter() - started_s)
        self._snapshot_s = self._clock_s()
        self.last_snapshot = manifest.version
        self.snapshots += 1
        written = read_manifest(self._store_dir, manifest.version)
        self.snapshot_bytes = sum(entry.bytes for entry in written.files.values())
        return digest

    def _announcement(self, manifest: Manifest, digest: str, gate_reason: str) -> Announcement:
        return Announcement(
            name=manifest.name,
            version=manifest.version,
            parent_version=manifest.parent_version,
            snapshot_uri=(self._store_dir / manifest.version).absolute().as_uri(),
            manifest_sha256=digest,
            created_time_ms=manifest.created_time_ms,
            newest_event_time_ms=manifest.newest_event_time_ms,
            newest_broker_time_ms=manifest.newest_broker_time_ms,
            sample_offsets=manifest.sample_offsets,
            gate=HELD if gate_reason else PASSED,
            gate_reason=gate_reason,
        )

    def _deltas_end(self) -> int:
        try:
            return self._topics.deltas_end()
        except Exception as error:  # Whatever the client raises: servers then look for the chain themselves.
            logger.warning("where deltas go on is not known: %s", error)
            return -1

    def _prune(self) -> None:
        """Delete old snapshots, and deltas that no kept snapshot needs."""
        try:
            prune_versions(self._store_dir, self._keep_snapshots)
            kept = [read_manifest(self._store_dir, str(version)) for version in list_versions(self._store_dir)]
            oldest = min((manifest.delta_offset for manifest in kept), default=-1)
            if oldest > 0:
                self._topics.trim_deltas(oldest)
        except Exception as error:  # Disk or broker: what is too much now goes the next time.
            logger.warning("old versions are not pruned: %s", error)


def next_epoch(store_dir: Path, last_version: str) -> int:
    """Return the epoch of a start: one above everything in the store and in the checkpoint."""
    known = list_versions(store_dir)
    if last_version:
        known.append(ModelVersion.parse(last_version))
    return 1 + max((version.epoch for version in known), default=0)
