"""The version that serves, and the only ways to another one: built or brought forward beside it, swapped by assignment.

Who changes it holds its `turn`, so that at most one version is built at a time. Reading, proving and building run in
one worker thread; all else on the event loop. Whatever is refused leaves the live one serving.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from features.item_table import ItemTable
from serving.arms.fixed_version import FixedVersion
from serving.avoided_versions import AvoidedVersions
from serving.delta_reader import GIVEN_UP, DeltaReader, Received
from serving.errors import GivenUpError, OrderError, StoreAwayError, VersionRefusedError, VersionUnknownError
from serving.index_upkeep import IndexUpkeep
from serving.left_right import LeftRight, Prepared, TableRows
from serving.load_turn import LoadTurn
from serving.model_buffer import ModelLease, Readers
from serving.model_builder import Built, ModelBuilder
from serving.serving_model import ServingModel
from serving.snapshots import Snapshots
from serving.swap_stats import SwapStats
from serving.version_records import VersionRecords, VersionState, VersionStatus
from trainer.version_files import ModelVersion, StoreError, VersionError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_READER_WAIT_S = 5.0
"""Longest wait for a request that reads the buffer which the next delta needs."""
_MOST_DELTAS, _MOST_BYTES = 64, 16 << 20
"""Deltas that go live in one swap where a server is behind; the other buffer gets them from memory."""
_MISSING = ("missing", "bad_version_name")
_NOT_ITS_FAULT = (*_MISSING, "no_deltas", "too_slow", "store_unreachable", "store_denied")
"""Reasons that say nothing of the version itself: it is not remembered as rejected."""


class LiveVersions:
    """Holds the live model and changes it.

    Args:
        snapshots: of the model.
        builder: reads and proves versions.
        items: the item table that models map their rows to.
        deltas: what comes in behind the live version.
        avoided: versions that somebody rolled back from.
        indexes: makes the indexes of large catalogues.
        reader_wait_s: how long a delta waits for a request that reads its buffer.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        builder: ModelBuilder,
        items: ItemTable,
        deltas: DeltaReader,
        avoided: AvoidedVersions,
        indexes: IndexUpkeep,
        reader_wait_s: float = _READER_WAIT_S,
    ) -> None:
        self.records = VersionRecords()
        self.stats = SwapStats(self.records)
        self.avoided = avoided
        self.next_offset = -1
        """Where the deltas go on behind the live version; -1 for not known."""
        self._snapshots = snapshots
        self._builder = builder
        self._items = items
        self._deltas = deltas
        self._indexes = indexes
        self._reader_wait_s = reader_wait_s
        self._live: ServingModel | None = None
        self._pair: LeftRight | None = None
        self._no_readers = Readers()
        self.turn = LoadTurn()
        """Held by whoever decides what to serve next, until it serves."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="build version")

    @property
    def model(self) -> ServingModel | None:
        """The model that serves now; None before the first."""
        return self._live

    @property
    def version(self) -> ModelVersion | None:
        """Its number."""
        return None if self._live is None else ModelVersion.parse(self._live.version)

    @property
    def digest(self) -> str:
        """What the next delta must name as its parent."""
        return "" if self._pair is None else self._pair.live.image.digest

    def take(self) -> ModelLease:
        """Return the live model for one request, to be held with `with`."""
        return ModelLease(self._live, self._no_readers if self._pair is None else self._pair.live.readers)

    def may_serve(self, version: ModelVersion) -> bool:
        """Whether a version may go live without an order: (epoch, seq) never falls."""
        live = self.version
        return (live is None or version > live) and not self.avoided.holds(version)

    async def close(self) -> None:
        """Have what is being built given up, and end the worker: the process ends no sooner than its threads."""
        await self.turn.close()
        await asyncio.to_thread(self._worker.shutdown)
        await self._indexes.close()

    def stored(self) -> list[str]:
        """Return the snapshots in the store, oldest first."""
        return [str(version) for version in self._snapshots.versions()]

    def base_of(self, version: str) -> str:
        """Return the snapshot in the store that a version rests on, empty where there is none.

        Raises:
            VersionError: it is no version.
        """
        wanted = ModelVersion.parse(version)
        below = [one for one in self._snapshots.versions() if one.epoch == wanted.epoch and one <= wanted]
        return str(below[-1]) if below else ""

    async def serve(self, version: str, manifest_sha256: str | None = None, reason: str = "") -> VersionStatus:
        """Build a version beside the live one and swap: its snapshot, or the one below it and the deltas up to it.

        The caller holds the turn, as for `rebuild` and `advance`.

        Args:
            version: `EPOCH.SEQ`.
            manifest_sha256: the announced digest, where it is known.
            reason: why this one, for its status.

        Raises:
            VersionUnknownError: no snapshot or no deltas of it are kept.
            VersionRefusedError: it failed a check, or its deltas cannot be read.
            GivenUpError: an order came first, or the server stops.
        """
        self.records.note(version, VersionState.LOADING)
        return self._install(await self._build(self._built, version, manifest_sha256), reason)

    async def rebuild(self, version: str, manifest_sha256: str | None) -> Built:
        """Build a snapshot and all deltas behind it, beside the live version; swap to it where it may serve.

        Raises:
            VersionUnknownError: the store has no such snapshot.
            VersionRefusedError: it failed a check.
            GivenUpError: an order came first, or the server stops.
        """
        built = await self._build(self._snapshot_and_deltas, version, manifest_sha256)
        if self.may_serve(built.buffer.version):
            self._install(built)
        return built

    async def build_beside(self, version: str) -> FixedVersion:
        """Build a version that does not go live: for an arm. It has memory of its own, and nobody writes into it.

        Raises:
            VersionUnknownError: no snapshot or no deltas of it are kept.
            VersionRefusedError: it failed a check.
            GivenUpError: the server stops.
        """
        async with self.turn.take(is_order=True):
            built = await self._build(self._built, version, None)
            rows = TableRows().extend(built.buffer.image.item_ids, self._items)
            return FixedVersion(built.buffer.model(self._builder.schema_hash, rows, built.near), built)

    def install(self, fixed: FixedVersion, reason: str) -> VersionStatus:
        """Let a version that was built beside the live one go live, in a turn; nothing is built anew."""
        return self._install(fixed.built, reason)

    async def advance(self) -> Prepared:
        """Bring the buffer beside through the deltas that wait, and swap; the bad one among them is in the result.

        Deltas to versions that were rolled back from are applied and not served: what comes behind them rests on them.
        """
        pair = self._pair
        received = self._deltas.take(_MOST_DELTAS, _MOST_BYTES, self._is_avoided)
        if pair is None or not received:
            return Prepared()
        await self._free_beside(pair)
        started_s = time.perf_counter()
        prepared = await self._in_worker(pair.prepare, received, self._builder.prove)
        seconds = time.perf_counter() - started_s
        self.stats.deltas_skipped += prepared.skipped
        for one, error in prepared.unfit:
            self.refuse("" if one.delta is None else one.delta.version, error)
        if not prepared.applied:
            return prepared
        newest = prepared.applied[-1].delta.manifest
        pair.near.note(prepared.moved, newest.num_items)
        if not self.may_serve(ModelVersion.parse(newest.version)):
            pair.overtake()
            self.stats.deltas_avoided += len(prepared.applied)
            return prepared
        buffer = pair.swap(prepared)
        table_rows = pair.table_rows.extend(buffer.image.item_ids, self._items)
        self._live = buffer.model(self._builder.schema_hash, table_rows, pair.near)
        self.next_offset = prepared.next_offset
        now_ms = time.time_ns() // 1_000_000
        self.records.note_live(newest, now_ms, is_delta=True)
        event_age_s = (now_ms - newest.newest_broker_time_ms) / 1000.0 if newest.newest_broker_time_ms else 0.0
        behind_s = (now_ms - newest.created_time_ms) / 1000.0
        self.stats.note_applied(len(prepared.applied), seconds, behind_s, event_age_s)
        if self._indexes.is_due(self._live.num_items):  # In the turn, so that nobody writes what is copied.
            await self._indexes.begin(self._live)
        return prepared

    def make_room(self) -> None:
        """Let go of the buffer beside; deltas that were in no other are read again."""
        if self._pair is not None and self._pair.drop_beside():
            self._deltas.read_from(self.next_offset)

    def refuse(self, version: str, error: Exception) -> OrderError:
        """Count and remember a refusal, and make the error that tells of it."""
        if not isinstance(error, VersionError):
            logger.error("building version %s failed", version, exc_info=error)
            error = VersionError("unexpected", repr(error))
        serving = "no version" if self._live is None else self._live.version
        if error.reason == GIVEN_UP:
            self.records.forget(version)
            return GivenUpError(f"version {version} was not built to its end: {error}; {serving} still serves")
        is_missing = error.reason in _MISSING
        self.records.note_refusal(version, error.reason, str(error), error.reason in _NOT_ITS_FAULT)
        logger.warning("refused version %s (%s); %s still serves", version or "?", error, serving)
        if is_missing:
            kept = ", ".join(self.stored()[-5:]) or "none"
            return VersionUnknownError(
                f"version {version!r:.80} is not kept: neither in the model store nor by the deltas behind a snapshot; "
                f"the newest kept are {kept}"
            )
        if isinstance(error, StoreError):
            return StoreAwayError(f"version {version} cannot be read ({error}); {serving} still serves")
        return VersionRefusedError(f"version {version} cannot serve ({error}); {serving} still serves")

    async def _build(
        self, call: Callable[[str, str | None], Built], version: str, manifest_sha256: str | None
    ) -> Built:
        self.make_room()  # The live one and the one to be built are two already.
        try:
            return await self._in_worker(call, version, manifest_sha256)
        except Exception as error:  # Nothing that a version does to its reader may end following.
            raise self.refuse(version, error) from error

    def _built(self, version: str, manifest_sha256: str | None) -> Built:
        """Build exactly one version; in the worker."""
        wanted = ModelVersion.parse(version)
        base, away = self._base_by_now(version)
        built = self._builder.snapshot(base, manifest_sha256 if base == version else None)
        if built.buffer.version != wanted:
            self._builder.advance(built, wanted, self._may_go_on)
            if built.buffer.version != wanted:
                end = f"the deltas behind {base} lead to {built.buffer.version}, not to {version}"
                raise away or built.error or built.passed_over or VersionError("missing", end)
        return self._with_all_else(built)

    def _base_by_now(self, version: str) -> tuple[str, StoreError | None]:
        """Return the snapshot that a version rests on, and why the list that says so may be old.

        Raises:
            VersionError: there is none.
        """
        away = None
        if self.base_of(version) != version:
            try:
                self._snapshots.look()
            except StoreError as error:
                away = error
        base = self.base_of(version)
        if not base:
            raise away or VersionError("missing", f"no snapshot at or below {version} is kept")
        return base, away

    def _snapshot_and_deltas(self, version: str, manifest_sha256: str | None) -> Built:
        built = self._builder.snapshot(version, manifest_sha256)
        self._builder.advance(built, may_go_on=self._may_go_on)
        return self._with_all_else(built)

    def _with_all_else(self, built: Built) -> Built:
        """Make the index, and find how many items stand where they stand in the live version.

        Those need no new rows in the item table.

        Raises:
            VersionError: work was given up (`given_up`).
        """
        built.near = self._indexes.for_version(built.buffer.model(self._builder.schema_hash), self._may_go_on)
        live, item_ids = self._live, built.buffer.image.item_ids
        if live is not None and item_ids[: live.num_items] == live.item_ids:
            built.shared_items = live.num_items
        return built

    def _install(self, built: Built, reason: str = "") -> VersionStatus:
        """Swap to a buffer that was built; requests in flight keep the model they took."""
        buffer, before = built.buffer, self._pair
        rows = TableRows() if before is None else before.table_rows.shared(built.shared_items)
        pair = LeftRight(buffer, rows, built.near)
        placed = buffer.model(self._builder.schema_hash, rows.extend(buffer.image.item_ids, self._items), built.near)
        self._pair, self._live, self._indexes.near = pair, placed, built.near
        self.next_offset = built.next_offset
        self._deltas.read_from(built.next_offset)
        self._snapshots.note_served(built.snapshot)
        logger.info("serving version %s (%d items)", placed.version, placed.num_items)
        return self.records.note_live(placed.manifest, time.time_ns() // 1_000_000, built.applied > 0, reason)

    async def _free_beside(self, pair: LeftRight) -> None:
        has_waited, is_left = await pair.free_beside(self._reader_wait_s)
        self.stats.readers_waited_for += has_waited
        self.stats.readers_left_behind += is_left
        if is_left:
            logger.warning("a request held a model for %.0f s; going on with a fresh copy", self._reader_wait_s)

    def _is_avoided(self, received: Received) -> bool:
        return received.version is not None and self.avoided.holds(received.version)

    def _may_go_on(self) -> bool:
        return self.turn.may_go_on

    async def _in_worker(self, call: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)
