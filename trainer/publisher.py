"""Publishes versions: snapshot into the model store first, announcement after it, old ones away.

Writing and announcing run in a thread of their own, one version at a time: learning never waits for a disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from trainer.durable_files import remove_leftovers
from trainer.snapshot import gate_reason
from trainer.version_files import ModelVersion, Version, VersionError, list_versions, prune_versions, write_version

TOPIC = "headrace.models.v1"
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


Announce = Callable[[str, bytes], None]
"""Produces (key, value) to `headrace.models.v1` and returns once it is acknowledged; raises what the broker raises."""


class Publisher:
    """The one writer of a model's directory in the store.

    Args:
        store_dir: `MODEL_STORE/NAME`.
        announce: produces an announcement.
        keep_newest: versions kept.
        keep_minutes: of older ones one a minute is kept this long.
        make_durable: called before a version becomes visible; returns once what it was learnt from is on disk.
    """

    def __init__(
        self,
        store_dir: Path,
        announce: Announce,
        keep_newest: int,
        keep_minutes: float,
        make_durable: Callable[[], None] = lambda: None,
    ) -> None:
        self._store_dir = store_dir
        self._announce = announce
        self._make_durable = make_durable
        self._keep_newest = keep_newest
        self._keep_s = 60.0 * keep_minutes
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publish")
        self._in_flight: Future[None] | None = None
        self._unannounced: Announcement | None = None
        self.last_version = ""
        """Newest version in the store by this publisher."""
        self.last_write_ms = 0.0
        """How long writing the newest version took."""
        self.held = 0
        """Versions that the gate held."""
        self.has_unwritten = False
        """Whether the newest version could not be written."""
        self.failed = 0
        """Tries that ended in an error."""
        remove_leftovers(store_dir)

    @property
    def is_busy(self) -> bool:
        """Whether a version is being written or announced right now."""
        return self._in_flight is not None and not self._in_flight.done()

    @property
    def has_unannounced(self) -> bool:
        """Whether the newest written version still waits for Kafka."""
        return self._unannounced is not None

    def publish(self, version: Version) -> None:
        """Begin to publish a version; only while not busy."""
        assert not self.is_busy
        self._in_flight = self._worker.submit(self._publish, version)

    def retry_announcement(self) -> None:
        """Begin to announce the newest written version again; only while not busy."""
        assert not self.is_busy
        self._in_flight = self._worker.submit(self._try_announce)

    def wait(self, timeout_s: float) -> None:
        """Wait until nothing is in flight, at most `timeout_s`."""
        if self._in_flight is not None:
            wait([self._in_flight], timeout=timeout_s)

    def close(self) -> None:
        """End the thread after what is in flight."""
        self._worker.shutdown(wait=True)

    def _publish(self, version: Version) -> None:
        name = version.manifest.version
        reason = gate_reason(version)
        started_s = time.perf_counter()
        try:
            self._make_durable()
            digest = write_version(self._store_dir, version)
        except (OSError, VersionError) as error:
            self.failed += 1
            self.has_unwritten = True
            logger.error("version %s is not published: %s", name, error)
            return
        self.last_write_ms = 1000.0 * (time.perf_counter() - started_s)
        self.has_unwritten = False
        self.last_version = name
        if reason:
            self.held += 1
            logger.error("version %s is held: %s", name, reason)
        self._unannounced = self._announcement(version, digest, reason)
        self._try_announce()
        self._prune()

    def _announcement(self, version: Version, digest: str, reason: str) -> Announcement:
        manifest = version.manifest
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
            gate=HELD if reason else PASSED,
            gate_reason=reason,
        )

    def _try_announce(self) -> None:
        if self._unannounced is None:
            return
        try:
            self._announce(self._unannounced.name, msgspec.json.encode(self._unannounced))
        except Exception as error:  # Whatever the client raises: the version stays and is announced later.
            self.failed += 1
            logger.warning("version %s is not announced yet: %s", self._unannounced.version, error)
            return
        self._unannounced = None

    def _prune(self) -> None:
        try:
            prune_versions(self._store_dir, self._keep_newest, spacing_s=60.0, reach_s=self._keep_s)
        except OSError as error:
            logger.warning("old versions are not pruned: %s", error)


def next_epoch(store_dir: Path, last_version: str) -> int:
    """Return the epoch of a start: one above everything in the store and in the checkpoint."""
    known = list_versions(store_dir)
    if last_version:
        known.append(ModelVersion.parse(last_version))
    return 1 + max((version.epoch for version in known), default=0)
