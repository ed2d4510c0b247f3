"""Which version serves, and who says so: the trainer, whom it follows, or a person's order.

`serving/live_versions.py` holds the live model and swaps, `serving/version_follower.py` follows; here are the orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from features.item_table import ItemTable
from serving.announcements import Announcement, AnnouncementBook
from serving.arms.beside import VersionsBeside
from serving.arms.fixed_version import FixedVersion
from serving.avoided_versions import AvoidedVersions
from serving.delta_reader import DeltaReader
from serving.errors import NoModelError, NothingHeldError, OrderError, StoreAwayError, VersionUnknownError
from serving.index_upkeep import IndexUpkeep
from serving.live_versions import LiveVersions
from serving.model_buffer import ModelLease
from serving.model_builder import ModelBuilder
from serving.serving_model import ServingModel
from serving.snapshots import Snapshots
from serving.standing_order import StandingOrder, StandingOrderFile
from serving.swap_stats import SwapStats
from serving.version_follower import VersionFollower
from serving.version_records import VersionRecords, VersionState, VersionStatus
from trainer.version_files import ModelVersion, VersionError

logger = logging.getLogger(__name__)

_RETRY_S = 5.0
_ROLLBACK_MS = 5 * 60_000
"""How much older than the live version a rollback without a name goes: behind what has just gone wrong."""


class ModelStore:
    """Holds the live model and carries out orders. All but reading and building a version runs on the event loop.

    An order is one turn: what it finds is still so when it is carried out, and what serves when it is answered is what
    the answer says. Orders that come together take their turns in the order in which they came.

    Args:
        snapshots: of the model, in the store.
        name: model name; announcements of others are not for us.
        builder: reads and proves versions.
        items: the item table that models map their rows to.
        order_file: keeps a pin or rollback over restarts.
        deltas: follows the deltas topic.
        reader_wait_s: how long a delta waits for a request that reads its buffer.
        index_items: items from which on the tower has an index; 0 for never.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        name: str,
        builder: ModelBuilder,
        items: ItemTable,
        order_file: StandingOrderFile,
        deltas: DeltaReader,
        reader_wait_s: float = 5.0,
        index_items: int = 0,
    ) -> None:
        self._snapshots = snapshots
        self._name = name
        self._order_file = order_file
        self.avoided = AvoidedVersions(order_file.path.with_suffix(".avoided.json"))
        """Versions that are not picked up without an order."""
        self._order = self._without_canary(order_file.read())
        self._book = AnnouncementBook()
        self._reaching: asyncio.Task[None] | None = None
        self.indexes = IndexUpkeep(index_items)
        """Of the tower, over large catalogues."""
        self._versions = LiveVersions(snapshots, builder, items, deltas, self.avoided, self.indexes, reader_wait_s)
        arms_file = order_file.path.with_suffix(".arms.json")
        self.beside = VersionsBeside(self._versions, snapshots, arms_file, self._is_ordered)
        """Versions that serve arms."""
        self._follower = VersionFollower(self._versions, self._book, deltas, lambda: self._order is not None)

    @property
    def live(self) -> ServingModel | None:
        """The model that serves now, to look at; None before the first. Requests `take` it."""
        return self._versions.model

    def take(self) -> ModelLease:
        """Return the live model for one request, to be held with `with`."""
        return self._versions.take()

    @property
    def order(self) -> StandingOrder | None:
        """The pin or rollback that holds back following; None while following."""
        return self._order

    @property
    def records(self) -> VersionRecords:
        """What is known of versions."""
        return self._versions.records

    @property
    def stats(self) -> SwapStats:
        """What became of swaps and deltas."""
        return self._versions.stats

    @property
    def is_behind(self) -> bool:
        """Whether the chain of deltas broke, so that the live version is no longer the trainer's newest."""
        return self._order is None and not self._follower.is_intact

    async def start(self, tries: int) -> None:
        """Serve the ordered or the newest good version in the store or here, then follow; needs no Kafka."""
        await self._snapshots.start()
        await self._serve_first(tries)
        self._follower.start()
        if self._order is not None:
            self._follower.hold_back()
            self._reaching = asyncio.create_task(self._reach_order(), name="reach the ordered version")
        elif self.live is not None:
            self._follower.resume()

    async def stop(self) -> None:
        """Stop following; what is being built is given up, and orders that wait are told so."""
        if self._reaching is not None:
            self._reaching.cancel()
            await asyncio.gather(self._reaching, return_exceptions=True)
        await self._follower.stop()
        await self._versions.close()
        await self._snapshots.stop()

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Take announcements in order; the newest of this model that no gate holds is looked at next."""
        for announcement in announcements:
            if announcement.name != self._name:
                continue
            try:
                is_news = self._book.add(announcement)
            except VersionError as error:
                logger.warning("skipped an announcement: %s", error)
                continue
            if announcement.is_held:
                self.records.note(announcement.version, VersionState.HELD, announcement.gate_reason)
                logger.warning("version %s is held: %s", announcement.version, announcement.gate_reason)
            elif is_news:
                self._snapshots.tell()
                self._follower.tell()

    async def load(self, version: str) -> VersionStatus:
        """Serve a named version now; following goes on behind it, or stays stopped there while an order stands.

        Raises:
            VersionUnknownError: neither the store nor the deltas behind a snapshot have it.
            VersionRefusedError: it failed a check, or cannot be built just now.
            GivenUpError: the server stops; so with all orders.
        """
        async with self._turn():
            return await self._serve(version)

    async def reload(self) -> VersionStatus:
        """Build the live version again from disk and topic, or the announced one where that is newer.

        Raises:
            NoModelError: nothing was announced and nothing is live.
            VersionUnknownError: it is not kept any more.
            VersionRefusedError: it failed a check.
        """
        async with self._turn():
            announced, live = self._book.newest, self._versions.version
            is_news = announced is not None and (live is None or ModelVersion.parse(announced.version) >= live)
            if self._order is None and announced is not None and is_news:
                return await self._serve(announced.version)
            return await self._serve(self.need_live().version)

    async def rollback(self, version: str = "") -> VersionStatus:
        """Serve a kept version; following stops until `unpin`, and what was left is not picked up again by itself.

        Args:
            version: any version whose snapshot and deltas are kept; empty for the newest snapshot that passed its gate
                and is at least five minutes older than the live version, else the oldest older one.

        Raises:
            VersionUnknownError: it is not kept, or there is no older one.
            VersionRefusedError: it failed a check.
        """
        async with self._turn():
            left, reason = self._versions.version, ""
            if not version:
                version, reason = self._older_snapshot(self.need_live())
            status = await self._serve(version, reason=reason)
            reached = ModelVersion.parse(status.version)
            if left is not None and reached < left:
                self.avoided.add(reached, left)
            self.stand(StandingOrder("rollback", status.version))
            return status

    async def pin(self, version: str = "") -> VersionStatus:
        """Serve a version, or the live one, until `unpin`; the store keeps the snapshot that it rests on.

        Raises:
            NoModelError: no version is named and none is live.
            VersionUnknownError: it is not kept.
            VersionRefusedError: it failed a check.
        """
        async with self._turn():
            target = version or self.need_live().version
            is_live = self.live is not None and self.live.version == target
            status = self.records.status_of(target) if is_live else await self._serve(target)
            self.avoided.allow(ModelVersion.parse(status.version))
            self.stand(StandingOrder("pin", status.version))
            return status

    async def unpin(self) -> VersionStatus:
        """Follow again behind the live version; the answer names none where an order stood and nothing is live.

        Raises:
            NoModelError: no order stands and nothing is live.
        """
        async with self._turn():
            version = self.need_live().version if self._order is None or self.live is not None else ""
            self.stand(None)
            self._follower.resume()
            return self.records.status_of(version)

    async def release(self) -> VersionStatus:
        """Serve the newest version that a gate holds.

        Raises:
            NothingHeldError: none is held.
            VersionUnknownError: the store lost it.
            VersionRefusedError: it failed a check.
        """
        async with self._turn():
            held = self._need_held()
            status = await self._serve(held.version, held.manifest_sha256)
            self._book.held.clear()  # What was held before it is older than what now serves.
            return status

    async def reject(self, reason: str) -> VersionStatus:
        """Reject the newest version that a gate holds; the live one serves on.

        Raises:
            NothingHeldError: none is held.
        """
        async with self._turn():
            held = self._need_held()
            del self._book.held[held.version]
            return self.records.note(held.version, VersionState.REJECTED, reason or held.gate_reason)

    async def install(self, fixed: FixedVersion, reason: str) -> VersionStatus:
        """Let a version that served an arm go live; `stand_again` says what happens behind it."""
        async with self._turn():
            self.avoided.allow(ModelVersion.parse(fixed.model.version))
            return self._versions.install(fixed, reason)

    def statuses(self) -> list[VersionStatus]:
        """Return the snapshots in the store, the live version, and those that were held or refused, oldest first."""
        return self.records.statuses(self._versions.stored())

    async def _serve_first(self, tries: int) -> None:
        """Serve what is there: the ordered version, the snapshot that it rests on, the newest good one.

        A version that a store does not give just now is no try: an older one may have a copy here.
        """
        ordered = self._ordered()
        async with self._versions.turn.take():
            for version in [*ordered, *self._on_disk()]:
                try:
                    await self._versions.serve(version)
                    return
                except StoreAwayError:
                    continue
                except OrderError:
                    tries -= version not in ordered
                if tries <= 0:
                    return

    def _ordered(self) -> list[str]:
        base = self._base_of(self._order)
        if self._order is None or not base:
            return []
        return [self._order.version] + ([base] if base != self._order.version else [])

    def _on_disk(self) -> list[str]:
        """Return the snapshots that may serve without an order, newest first."""
        states = (VersionState.HELD, VersionState.REJECTED)
        return [
            version
            for version in reversed(self._versions.stored())
            if self.records.status_of(version).state not in states
            and not self.avoided.holds(ModelVersion.parse(version))
        ]

    def _older_snapshot(self, live: ServingModel) -> tuple[str, str]:
        """Return the snapshot that a rollback without a name goes to, and why it is that one.

        Raises:
            VersionUnknownError: there is no older one.
        """
        number = ModelVersion.parse(live.version)
        older = [version for version in self._on_disk() if ModelVersion.parse(version) < number]
        for version in older:
            created_ms = self._created_ms(version)
            if created_ms is not None and created_ms <= live.created_time_ms - _ROLLBACK_MS:
                return version, f"rolled back from {live.version}: the newest good snapshot 5 minutes older or more"
        if not older:
            raise VersionUnknownError(f"no snapshot older than {live.version} is kept; see `headrace models`")
        return older[-1], f"rolled back from {live.version}: none is 5 minutes older, so the oldest good snapshot kept"

    def _created_ms(self, version: str) -> int | None:
        try:
            return self._snapshots.manifest(version).created_time_ms
        except VersionError:
            return None

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return self._versions.turn.take(is_order=True)

    async def _serve(self, version: str, manifest_sha256: str | None = None, reason: str = "") -> VersionStatus:
        """Serve a version that somebody ordered; an order that stands goes along, so that it names what serves."""
        status = await self._versions.serve(version, manifest_sha256 or self._book.digest_of(version), reason)
        self.avoided.allow(ModelVersion.parse(status.version))
        if self._order is None:
            self._follower.resume(passes_over=True)
        else:
            self.stand(msgspec.structs.replace(self._order, version=status.version, why=""))
        return status

    async def _reach_order(self) -> None:
        """Serve the ordered version as soon as its deltas can be read, after a start without Kafka."""
        while (order := self._order) is not None and (self.live is None or self.live.version != order.version):
            await asyncio.sleep(_RETRY_S)
            with contextlib.suppress(OrderError):
                async with self._versions.turn.take():
                    if self._order == order:
                        await self._versions.serve(order.version)
                        self._follower.hold_back()

    def stand(self, order: StandingOrder | None) -> None:
        """Let an order hold, or none; the store keeps the snapshot that the version rests on."""
        before, wanted = self._base_of(self._order), self._base_of(order)
        with contextlib.suppress(OSError):  # A store that we may only read cannot be told to keep files.
            if wanted:
                self._snapshots.pin(wanted)
            if before and before != wanted and not self.beside.needs(before):
                self._snapshots.unpin(before)
        self._order = order
        self._order_file.write(order)
        if order is not None:
            self._follower.hold_back()

    def stand_again(self, order: StandingOrder | None) -> None:
        """Go back to what was ordered, or to following."""
        self.stand(order)
        if order is None:
            self._follower.resume(passes_over=True)

    def _without_canary(self, order: StandingOrder | None) -> StandingOrder | None:
        """Return what a server that ended while a canary ran is held at."""
        if order is None or order.order != "canary":
            return order
        above, canary = ModelVersion.parse(order.version), ModelVersion.parse(order.canary)
        if canary > above:
            self.avoided.add(above, canary)
        held = StandingOrder("rollback", order.version, why=f"the server ended while the canary {order.canary} ran")
        self._order_file.write(held)
        return held

    def _is_ordered(self, snapshot: str) -> bool:
        """Whether the order that stands rests on a snapshot."""
        return snapshot == self._base_of(self._order)

    def _base_of(self, order: StandingOrder | None) -> str:
        """Return the snapshot that an order's version rests on, empty where there is none."""
        if order is None:
            return ""
        try:
            return self._versions.base_of(order.version)
        except VersionError as error:
            logger.warning("the standing order names no version: %s", error)
            return ""

    def _need_held(self) -> Announcement:
        held = self._book.newest_held()
        if held is None:
            raise NothingHeldError("no version is held by a gate; use pin or rollback to change what serves")
        return held

    def need_live(self) -> ServingModel:
        """Return the live model.

        Raises:
            NoModelError: there is none.
        """
        if self.live is None:
            raise NoModelError("no model version is loaded yet; wait for the trainer's first, or name a version")
        return self.live
