"""Publishes versions: a snapshot that opens a chain, deltas that continue it, now and then a snapshot of where it is.

Writing and sending run in a thread of their own, one version at a time: learning never waits for a disk or for Kafka,
and deltas not for a store behind a network (trainer/snapshot_writer.py). A snapshot stands in the store before it is
announced; a delta is its own announcement. While Kafka is away the newest delta waits, and what is learnt meanwhile
goes into the one after it. While the store is away deltas of the chain go on; a chain that must be opened is tried
again with what is learnt by then, and a version that the gate holds as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec

from trainer.delta_chunks import chunk_records
from trainer.errors import FencedError
from trainer.snapshot_writer import SnapshotWriter
from trainer.version_cut import Cut, delta_of
from trainer.version_delta import decode_delta, digest_of, encode_delta
from trainer.version_files import (
    Manifest,
    ModelVersion,
    Version,
    VersionBytes,
    VersionError,
    VersionStore,
    encode_version,
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
    manifest_sha256: str
    created_time_ms: int
    newest_event_time_ms: int
    newest_broker_time_ms: int
    sample_offsets: dict[str, int]
    gate: str
    gate_reason: str = ""


class Publisher:
    """The one writer of a model's versions in the store and of its chain of deltas.

    Args:
        store: the versions of the model.
        topics: where announcements and deltas go.
        keep_snapshots: newest snapshots kept, beside pinned ones and the last that its gate let pass.
        snapshot_interval_s: time between snapshots of a chain.
        make_durable: called before a version becomes visible; returns once what it was learnt from is on disk.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        store: VersionStore,
        topics: VersionTopics,
        keep_snapshots: int,
        snapshot_interval_s: float,
        make_durable: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._make_durable = make_durable
        self.snapshots = SnapshotWriter(store, keep_snapshots, clock_s)
        """Writes them, and knows how the store is."""
        self._snapshot_interval_s = snapshot_interval_s
        self._clock_s = clock_s
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publish")
        self._in_flight: Future[None] | None = None
        self._image: VersionImage | None = None
        self._unwritten: tuple[VersionBytes, Announcement] | None = None
        """The version that the gate holds, until the store has it."""
        self._on_its_way: Announcement | None = None
        """Of the snapshot that is being written beside the deltas."""
        self._unannounced: Announcement | None = None
        self._unsent: list[bytes] = []
        """Chunks of the newest delta until the broker has them."""
        self._unsent_since_s = clock_s()
        self.last_version = ""
        """Newest version that is in the store or on its way to the servers."""
        self.last_delta_bytes = 0
        self.last_delta_ms = 0.0
        """How long the newest delta took, from the cut to the broker's word."""
        self.deltas = 0
        self.delta_bytes = 0
        """Of all deltas."""
        self.held = 0
        """Versions that the gate held."""
        self._failed = 0
        self.fence: FencedError | None = None
        """Why this publisher may not publish any more."""

    @property
    def is_busy(self) -> bool:
        """Whether a version is being written or sent right now."""
        return self._in_flight is not None and not self._in_flight.done()

    @property
    def failed(self) -> int:
        """Tries that ended in an error."""
        return self._failed + self.snapshots.failed

    @property
    def has_unsent(self) -> bool:
        """Whether an announcement or a delta still waits for Kafka, or a snapshot for the store or its announcement."""
        waits = self._unannounced is not None or self._unwritten is not None or self.snapshots.has_finished
        return waits or bool(self._unsent)

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
        """End the thread after what is in flight; a store that does not answer is not waited for."""
        self.snapshots.close()
        self._worker.shutdown(wait=True)

    def _publish(self, version: Version, gate_reason: str) -> None:
        self._image, self._unsent, self._unwritten = None, [], None
        offset = self._deltas_end()
        manifest = msgspec.structs.replace(version.manifest, delta_sha256="", delta_offset=offset)
        image = VersionImage(version)
        encoded = self._encoded(image, manifest)
        if encoded is None:
            return
        said = _announcement(manifest, encoded.digest, gate_reason)
        if gate_reason:
            self.held += 1
            logger.error("version %s is held: %s", manifest.version, gate_reason)
            self._unwritten = encoded, said
        elif self.snapshots.write(encoded):
            image.digest = encoded.digest
            self.last_version = manifest.version
            self._image, self._unannounced = image, said
        self._try_send()

    def _publish_delta(self, cut: Cut, cut_s: float) -> None:
        assert self._image is not None
        try:
            self._make_durable()
            payload = encode_delta(delta_of(cut, self._image))
            delta = decode_delta(payload)  # As readers will: what they would refuse is not sent.
            self._image.apply(delta, digest_of(payload))
        except (OSError, VersionError) as error:
            self._failed += 1
            self._image = None  # What was touched is known to nobody any more: the next version is whole.
            logger.error("version %s is not published: %s", cut.manifest.version, error)
            return
        manifest = delta.manifest
        self._unsent = chunk_records(manifest.name, manifest.version, manifest.parent_sha256, payload)
        self._unsent_since_s = cut_s
        self.last_version, self.last_delta_bytes = manifest.version, len(payload)
        self._try_send()

    def _try_send(self) -> None:
        """Write and send what waits, in its order; then write a snapshot where one is due."""
        try:
            self._look_at_writing()
            self._write_held()
            self._announce()
            if self._unsent:
                assert self._image is not None
                offset = self._topics.send_delta(self._image.manifest.name, self._unsent)
                self._note_sent()
                self._write_when_due(offset)
        except FencedError as error:
            self.fence = error
        except Exception as error:  # Whatever the client raises: the version stays and is sent later.
            self._failed += 1
            logger.warning("version %s is not with the servers yet: %s", self.last_version, error)

    def _note_sent(self) -> None:
        self._unsent = []
        self.deltas += 1
        self.delta_bytes += self.last_delta_bytes
        self.last_delta_ms = 1000.0 * (self._clock_s() - self._unsent_since_s)

    def _write_held(self) -> None:
        """Write the version that the gate holds, as soon as the store takes it."""
        if self._unwritten is not None and self.snapshots.may_write:
            encoded, said = self._unwritten
            if self.snapshots.write(encoded):
                self.last_version = said.version
                self._unwritten, self._unannounced = None, said

    def _look_at_writing(self) -> None:
        """Have a snapshot announced that was written beside the deltas."""
        if self.snapshots.has_finished:
            written, said = self.snapshots.finished(), self._on_its_way
            if written is not None and said is not None and said.version == written.version:
                self._unannounced = said

    def _write_when_due(self, offset: int) -> None:
        """Write and announce where the chain is, so that who comes anew need not follow it from its beginning."""
        is_due = self._clock_s() - self.snapshots.written_s >= self._snapshot_interval_s
        if self._image is None or not is_due or not self.snapshots.may_write:
            return
        manifest = msgspec.structs.replace(
            self._image.manifest, parent_sha256="", delta_sha256=self._image.digest, delta_offset=offset
        )
        encoded = self._encoded(self._image, manifest)
        if encoded is None:
            return
        said = _announcement(manifest, encoded.digest, "")
        if self.snapshots.is_remote:
            self._on_its_way = said
            self.snapshots.begin(encoded)
        elif self.snapshots.write(encoded):
            self._unannounced = said
            self._announce()

    def _announce(self) -> None:
        """Tell of the snapshot that waits for it, where one does; what it makes superfluous goes."""
        said = self._unannounced
        if said is not None:
            self._topics.announce(said.name, msgspec.json.encode(said))
            self._unannounced = None
            self.snapshots.tidy(said.version if said.gate == PASSED else "", self._topics.trim_deltas)

    def _encoded(self, image: VersionImage, manifest: Manifest) -> VersionBytes | None:
        """Return a snapshot as bytes, once what it was learnt from is on disk; None where a disk or a check refuses."""
        try:
            self._make_durable()
            return encode_version(image.as_version(manifest))
        except (OSError, VersionError) as error:
            self._failed += 1
            logger.error("version %s is not written: %s", manifest.version, error)
            return None

    def _deltas_end(self) -> int:
        try:
            return self._topics.deltas_end()
        except Exception as error:  # Whatever the client raises: servers then look for the chain themselves.
            logger.warning("where deltas go on is not known: %s", error)
            return -1


def _announcement(manifest: Manifest, digest: str, gate_reason: str) -> Announcement:
    return Announcement(
        name=manifest.name,
        version=manifest.version,
        parent_version=manifest.parent_version,
        manifest_sha256=digest,
        created_time_ms=manifest.created_time_ms,
        newest_event_time_ms=manifest.newest_event_time_ms,
        newest_broker_time_ms=manifest.newest_broker_time_ms,
        sample_offsets=manifest.sample_offsets,
        gate=HELD if gate_reason else PASSED,
        gate_reason=gate_reason,
    )


def next_epoch(known: Iterable[ModelVersion], last_version: str) -> int:
    """Return the epoch of a start: one above everything in the store and in the checkpoint."""
    epochs = [version.epoch for version in known]
    if last_version:
        epochs.append(ModelVersion.parse(last_version).epoch)
    return 1 + max(epochs, default=0)
