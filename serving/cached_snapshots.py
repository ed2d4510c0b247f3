"""The snapshots of a store behind a network: listed by a thread, copied here when they are first read.

What was proven once lies in a directory of this server (its workers share it), so that a start needs no store. Kept
are the newest few, what serves, and what orders and arms rest on. While the store fails it is left alone for 1, 2, 4 ..
30 s; whoever asks meanwhile is told so at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from serving.server_settings import ServerSettings
from serving.snapshots import LocalSnapshots, Snapshots
from serving.store_health import StoreHealth
from trainer.version_files import (
    LocalVersions,
    Manifest,
    ModelVersion,
    StoreError,
    Version,
    VersionBytes,
    VersionError,
    VersionStore,
    decode_version,
    open_versions,
)

_PAUSE_S = (1.0, 30.0)
_FIRST_LOOK_S = 3.0
"""How long a start waits for the first listing, before it serves what is here."""

_LOCK = ".lock"

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class CachedSnapshots:
    """See `Snapshots`.

    Args:
        store: the versions of the model.
        cache: the copies here.
        keep: newest copies kept.
        look_s: time between two listings.
        health: told how the store does.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        store: VersionStore,
        cache: LocalVersions,
        keep: int,
        look_s: float,
        health: StoreHealth,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._cache = cache
        self._keep = keep
        self._look_s = look_s
        self._health = health
        self._clock_s = clock_s
        self._listed: list[ModelVersion] = []
        self._manifests: dict[str, Manifest] = {}
        self._marks: deque[tuple[str, Callable[[str], None]]] = deque()
        """Pins and their opposites that the store does not know of yet."""
        self._pause_s = 0.0
        self._resting_until_s = float("-inf")
        self._has_news = threading.Event()
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """See `Snapshots`."""
        self._clean()
        for version in self._cache.pinned():  # What a server that ended may not have told the store.
            self._marks.append((str(version), self._store.pin))
        has_looked = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(has_looked,), name="model store", daemon=True)
        self._thread.start()
        await asyncio.to_thread(has_looked.wait, _FIRST_LOOK_S)

    async def stop(self) -> None:
        """See `Snapshots`; a thread inside a call that hangs is left behind."""
        self._is_stopping.set()
        self._has_news.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 1.0)

    def tell(self) -> None:
        """See `Snapshots`."""
        self._has_news.set()

    def versions(self) -> list[ModelVersion]:
        """See `Snapshots`."""
        return sorted({*self._listed, *self._cache.versions()})

    def look(self) -> None:
        """See `Snapshots`.

        Raises:
            StoreError: the store does not answer.
        """
        self._listed = self._ask(self._store.versions)

    def read(self, version: str, manifest_sha256: str | None = None) -> Version:
        """See `Snapshots`.

        Raises:
            StoreError: the store does not answer, and there is no copy here.
            VersionError: it is missing, or not as it must be.
        """
        copy = self._read_copy(version, manifest_sha256)
        if copy is not None:
            return copy
        with self._one_download():
            copy = self._read_copy(version, manifest_sha256)  # Another worker may just have brought it.
            if copy is not None:
                return copy
            raw = self._ask(partial(self._store.fetch, version, manifest_sha256))
            proven = decode_version(version, raw.read_file, manifest_sha256)
            self._keep_copy(raw)
        return proven

    def manifest(self, version: str) -> Manifest:
        """See `Snapshots`.

        Raises:
            VersionError: that is not known.
        """
        known = self._manifests.get(version)
        return self._cache.manifest(version) if known is None else known

    def pin(self, version: str) -> None:
        """See `Snapshots`; the store is told as soon as it listens.

        Raises:
            OSError: the disk refuses.
        """
        self._mark(version, self._store.pin)
        self._cache.pin(version)

    def unpin(self, version: str) -> None:
        """See `Snapshots`; the store is told as soon as it listens.

        Raises:
            OSError: the disk refuses.
        """
        self._mark(version, self._store.unpin)
        self._cache.unpin(version)

    def note_served(self, version: str) -> None:
        """See `Snapshots`."""
        try:
            self._cache.note_good(version)
        except OSError as error:
            self._health.note_cache(str(error))

    def _mark(self, version: str, tell_store: Callable[[str], None]) -> None:
        self._marks.append((version, tell_store))
        self._has_news.set()

    def _read_copy(self, version: str, manifest_sha256: str | None) -> Version | None:
        """Return the copy here, None where there is none that is good and is what was announced."""
        if ModelVersion.parse(version) not in self._cache.versions():
            return None
        try:
            return self._cache.read(version, manifest_sha256)
        except VersionError as error:
            logger.warning("the copy of version %s is not used (%s); reading it from the store", version, error)
            return None

    def _keep_copy(self, raw: VersionBytes) -> None:
        """Keep what was proven; a full disk costs the copy, not the version."""
        try:
            self._cache.delete(raw.version)  # A copy that was not used is damaged, or another than announced.
            self._cache.put(raw)
            self._cache.prune(self._keep, [ModelVersion.parse(raw.version)])
        except (OSError, VersionError) as error:
            logger.warning("version %s is not kept here: %s", raw.version, error)
            self._health.note_cache(str(error))
            return
        self._health.note_cache("")

    def _clean(self) -> None:
        """Delete what a killed server left half copied, unless another worker copies just now."""
        with contextlib.suppress(OSError), (self._cache.directory / _LOCK).open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._cache.clean()

    @contextlib.contextmanager
    def _one_download(self) -> Iterator[None]:
        """Let workers that share the copies bring each version once."""
        try:
            self._cache.directory.mkdir(parents=True, exist_ok=True)
            lock = (self._cache.directory / _LOCK).open("a", encoding="utf-8")
        except OSError:  # No copies then; what is read serves from memory.
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _ask(self, call: Callable[[], Result]) -> Result:
        """Ask the store, unless it failed a moment ago.

        Raises:
            StoreError: it does not answer.
        """
        left_s = self._resting_until_s - self._clock_s()
        if left_s > 0:
            raise StoreError("store_unreachable", f"{self._health.error}; the next try is in {left_s:.0f} s")
        try:
            answer = call()
        except StoreError as error:
            self._pause_s = min(max(_PAUSE_S[0], 2.0 * self._pause_s), _PAUSE_S[1])
            self._resting_until_s = self._clock_s() + self._pause_s
            if not self._health.error:
                logger.warning("the model store is away: %s", error)
            self._health.note_failure(str(error))
            raise
        self._pause_s = 0.0
        self._health.note_answer()
        return answer

    def _follow(self, has_looked: threading.Event) -> None:
        """Look at the store now and then, and tell it what it must keep."""
        while not self._is_stopping.is_set():
            self._has_news.clear()
            try:
                self.look()
                self._learn_manifests()
                self._tell_marks()
            except StoreError:  # Told where it was noticed.
                pass
            except Exception:
                logger.exception("looking at the model store failed")
            has_looked.set()
            self._has_news.wait(self._pause_s or self._look_s)

    def _learn_manifests(self) -> None:
        for version in map(str, self._listed):
            if version not in self._manifests:
                with contextlib.suppress(VersionError):
                    self._manifests[version] = self._ask(partial(self._store.manifest, version))
        for gone in self._manifests.keys() - set(map(str, self._listed)):
            del self._manifests[gone]

    def _tell_marks(self) -> None:
        while self._marks:
            version, tell_store = self._marks[0]
            self._ask(partial(tell_store, version))
            self._marks.popleft()


def open_snapshots(settings: ServerSettings, health: StoreHealth) -> Snapshots:
    """Open the snapshots of a server's model; nothing is asked of the store yet.

    Raises:
        ConfigError: the store's address, a credential's variable or the driver cannot be used.
    """
    config, name = settings.model_store, settings.app.name
    store = open_versions(config.uri_of(settings.endpoints), name, config)
    if isinstance(store, LocalVersions):
        return LocalSnapshots(store.directory)
    cache = LocalVersions(settings.state_dir / "model_cache" / name)
    return CachedSnapshots(store, cache, config.cached_snapshots, config.look_s, health)
