"""Which version serves, and how the next one replaces it: read, prove, build beside, swap by one assignment.

Follows `headrace.models.v1`. Only the newest announcement is loaded: a server that fell behind skips what lies between.
At most one version loads at a time; whatever is refused leaves the live one serving.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from features.item_table import ItemTable
from serving.errors import NoModelError, NothingHeldError, VersionRefusedError, VersionUnknownError
from serving.serving_model import ServingModel, place_rows
from serving.standing_order import StandingOrder, StandingOrderFile
from serving.version_records import VersionRecords, VersionState, VersionStatus
from trainer.version_files import (
    ModelVersion,
    VersionError,
    list_versions,
    pin_version,
    unpin_version,
)

logger = logging.getLogger(__name__)

PASSED, HELD = "PASSED", "HELD"

LoadModel = Callable[[Path, str, str | None, ServingModel | None], ServingModel]
"""(store directory, version, announced manifest digest, live model) -> a proven model; raises VersionError."""


class Announcement(msgspec.Struct, frozen=True):
    """What the publisher says of its newest version."""

    name: str
    version: str
    manifest_sha256: str
    gate: str = PASSED
    gate_reason: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the trainer's gate asks a person to look at the version first."""
        return self.gate == HELD


class ModelStore:
    """Holds the live model and changes it. All but reading and building a version runs on the event loop.

    Args:
        store_dir: directory of the model in the store.
        name: model name; announcements of others are not for us.
        load_model: reads, builds and proves a version, in a worker thread.
        items: the item table that placed models map their rows to.
        order_file: keeps a pin or rollback over restarts.
    """

    def __init__(
        self, store_dir: Path, name: str, load_model: LoadModel, items: ItemTable, order_file: StandingOrderFile
    ) -> None:
        self.records = VersionRecords()
        self._store_dir = store_dir
        self._name = name
        self._load_model = load_model
        self._items = items
        self._order_file = order_file
        self._order = order_file.read()
        self._live: ServingModel | None = None
        self._announced: Announcement | None = None
        self._held: dict[str, Announcement] = {}
        self._has_news = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="load version")
        self._follower: asyncio.Task[None] | None = None

    @property
    def live(self) -> ServingModel | None:
        """The model that serves now; None before the first. Take it once per request."""
        return self._live

    @property
    def order(self) -> StandingOrder | None:
        """The pin or rollback that holds back following; None while following."""
        return self._order

    async def start(self, tries: int) -> None:
        """Serve the ordered or the newest good version on disk, then follow announcements; needs no Kafka."""
        ordered = [] if self._order is None else [self._order.version]
        for version in ordered + self._stored()[: -tries - 1 : -1]:
            if self.records.status_of(version).state is VersionState.HELD:
                continue
            with contextlib.suppress(VersionRefusedError, VersionUnknownError):
                await self._swap_to(version)
                break
        self._follower = asyncio.create_task(self._follow(), name="follow versions")

    async def stop(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        self._worker.shutdown(wait=False)

    def announce(self, announcements: list[Announcement]) -> None:
        """Take announcements in order; the newest of this model that no gate holds is loaded next."""
        for announcement in announcements:
            if announcement.name != self._name:
                continue
            if announcement.is_held:
                self._held[announcement.version] = announcement
                self.records.note(announcement.version, VersionState.HELD, announcement.gate_reason)
                logger.warning("version %s is held: %s", announcement.version, announcement.gate_reason)
            else:
                self._announced = announcement
                self._has_news.set()

    async def load(self, version: str) -> VersionStatus:
        """Serve a named version now; following goes on with the next newer one.

        Raises:
            VersionUnknownError: the store has no such version.
            VersionRefusedError: it failed a check.
        """
        return await self._swap_to(version)

    async def reload(self) -> VersionStatus:
        """Read the announced version again, or the live one while not following.

        Raises:
            NoModelError: nothing was announced and nothing is live.
            VersionUnknownError: the store lost it.
            VersionRefusedError: it failed a check.
        """
        if self._order is None and self._announced is not None:
            return await self._swap_to(self._announced.version, self._announced.manifest_sha256)
        return await self._swap_to(self._need_live().version)

    async def rollback(self, version: str = "") -> VersionStatus:
        """Serve a kept version, or the one that was live before; following stops until `unpin`.

        Raises:
            VersionUnknownError: the store has no such version, or none was live before.
            VersionRefusedError: it failed a check.
        """
        target = version or self._version_before()
        status = await self._swap_to(target, is_rollback=True)
        self._stand(StandingOrder("rollback", status.version))
        return status

    async def pin(self, version: str = "") -> VersionStatus:
        """Serve a version, or the live one, until `unpin`; the store keeps its files.

        Raises:
            NoModelError: no version is named and none is live.
            VersionUnknownError: the store has no such version.
            VersionRefusedError: it failed a check.
        """
        target = version or self._need_live().version
        status = self.records.status_of(target) if self._is_live(target) else await self._swap_to(target)
        with contextlib.suppress(OSError):  # A store that we may only read cannot be told to keep files.
            pin_version(self._store_dir, status.version)
        self._stand(StandingOrder("pin", status.version))
        return status

    async def unpin(self) -> VersionStatus:
        """Follow announcements again, beginning with the newest.

        Raises:
            NoModelError: nothing is live.
        """
        if self._order is not None and self._order.order == "pin":
            with contextlib.suppress(OSError):
                unpin_version(self._store_dir, self._order.version)
        self._stand(None)
        self._has_news.set()
        return self.records.status_of(self._need_live().version)

    async def release(self) -> VersionStatus:
        """Serve the newest version that a gate holds.

        Raises:
            NothingHeldError: none is held.
            VersionUnknownError: the store lost it.
            VersionRefusedError: it failed a check.
        """
        held = self._newest_held()
        status = await self._swap_to(held.version, held.manifest_sha256)
        self._held.clear()  # What was held before it is older than what now serves.
        return status

    async def reject(self, reason: str) -> VersionStatus:
        """Reject the newest version that a gate holds; the live one serves on.

        Raises:
            NothingHeldError: none is held.
        """
        held = self._newest_held()
        del self._held[held.version]
        return self.records.note(held.version, VersionState.REJECTED, reason or held.gate_reason)

    def statuses(self) -> list[VersionStatus]:
        """Return every version in the store or remembered, oldest first."""
        return self.records.statuses(self._stored())

    async def _follow(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            announced = self._announced
            if announced is None or self._order is not None or not self._is_newer(announced.version):
                continue
            with contextlib.suppress(VersionRefusedError, VersionUnknownError):  # Counted and logged where refused.
                await self._swap_to(announced.version, announced.manifest_sha256, is_followed=True)

    async def _swap_to(
        self, version: str, manifest_sha256: str | None = None, is_rollback: bool = False, is_followed: bool = False
    ) -> VersionStatus:
        """Load, prove and serve a version; requests in flight keep the model they took."""
        async with self._one_at_a_time:
            before = self._live
            self.records.note(version, VersionState.LOADING)
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(
                    self._worker, self._load_model, self._store_dir, version, manifest_sha256, before
                )
                placed = place_rows(loaded, before, self._items)
            except VersionError as error:
                raise self._refuse(version, error) from error
            except Exception as error:  # Nothing that a version does to the loader may end following.
                logger.exception("loading version %s failed", version)
                raise self._refuse(version, VersionError("unexpected", repr(error))) from error
            if is_followed and self._order is not None:  # Pinned while this loaded: the order wins.
                return self.records.note(version, VersionState.UNLOADED)
            self._live = placed
            logger.info("serving version %s (%d items)", version, placed.num_items)
            return self.records.note_live(placed.manifest, time.time_ns() // 1_000_000, is_rollback)

    def _refuse(self, version: str, error: VersionError) -> VersionRefusedError | VersionUnknownError:
        """Count and remember a refusal, and make the error that tells of it."""
        is_missing = error.reason in ("missing", "bad_version_name")
        self.records.note_refusal(version, error.reason, str(error), is_missing)
        serving = "no version" if self._live is None else self._live.version
        logger.warning("refused version %s (%s); %s still serves", version, error, serving)
        if is_missing:
            kept = ", ".join(self._stored()[-5:]) or "none"
            return VersionUnknownError(f"version {version!r:.80} is not in the model store; the newest kept are {kept}")
        return VersionRefusedError(f"version {version} is not fit to serve ({error}); {serving} still serves")

    def _version_before(self) -> str:
        version = self.records.version_before(self._stored())
        if not version:
            raise VersionUnknownError("no version was live before this one; name a kept version (`headrace models`)")
        return version

    def _stored(self) -> list[str]:
        return [str(version) for version in list_versions(self._store_dir)]

    def _newest_held(self) -> Announcement:
        if not self._held:
            raise NothingHeldError("no version is held by a gate; use pin or rollback to change what serves")
        return self._held[max(self._held, key=ModelVersion.parse)]

    def _stand(self, order: StandingOrder | None) -> None:
        self._order = order
        self._order_file.write(order)

    def _is_live(self, version: str) -> bool:
        return self._live is not None and self._live.version == version

    def _is_newer(self, version: str) -> bool:
        """Whether a version stands above the live one: without an order, (epoch, seq) never falls."""
        try:
            return self._live is None or ModelVersion.parse(version) > ModelVersion.parse(self._live.version)
        except VersionError:
            return False

    def _need_live(self) -> ServingModel:
        if self._live is None:
            raise NoModelError("no model version is loaded yet; wait for the trainer's first, or name a version")
        return self._live
