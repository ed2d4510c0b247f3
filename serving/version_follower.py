"""Follows the trainer: deltas as they come, snapshots where no deltas lead there, and back onto the chain after a gap.

A delta that is damaged or not fit is passed over. The chain is `intact` until one comes whose parent is not here: then
nothing more is taken from the topic, and the newest good snapshot is built beside the live version together with the
deltas behind it. Tries come at once, then after 1, 2, 4 .. 30 s, and with every new snapshot; the live version serves
meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from serving.announcements import AnnouncementBook
from serving.delta_reader import DeltaReader
from serving.errors import GivenUpError, OrderError, StoreAwayError
from serving.left_right import Prepared
from serving.live_versions import LiveVersions
from serving.version_records import VersionState
from trainer.version_files import ModelVersion

logger = logging.getLogger(__name__)

_PATIENCE_S = 3.0
"""How long deltas may take to lead to a snapshot that was announced, before it is loaded in their place."""
_BACKOFF_S = (1.0, 30.0)
_CALM_S = 60.0
"""A chain that held this long begins anew with tries at once."""
_SNAPSHOTS_TRIED = 3


class VersionFollower:
    """Decides what is loaded next, while no order holds it back; each step is one turn.

    Args:
        live: does it.
        book: what was announced.
        deltas: what comes in behind the live version.
        is_held_back: whether an order stands.
    """

    def __init__(
        self, live: LiveVersions, book: AnnouncementBook, deltas: DeltaReader, is_held_back: Callable[[], bool]
    ) -> None:
        self._live = live
        self._book = book
        self._deltas = deltas
        self._is_held_back = is_held_back
        self._has_news = asyncio.Event()
        self._passed_over = ""
        """Digest of the announced snapshot that was refused, or that an order turned away from."""
        self._store_at_s, self._store_pause_s = float("-inf"), 0.0
        """When a store that did not give the announced snapshot is asked again."""
        self._chained_epoch = -1
        """Of the deltas that were applied last."""
        self._resync_at_s: float | None = None
        """None while the chain is intact."""
        self._pause_s = 0.0
        self._broken_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_intact(self) -> bool:
        """Whether every delta fitted since the last resync."""
        return self._resync_at_s is None

    def start(self) -> None:
        """Begin to follow."""
        self._deltas.start(self._has_news.set)
        self._task = asyncio.create_task(self._follow(), name="follow versions")

    async def stop(self) -> None:
        """End following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._deltas.stop()

    def tell(self) -> None:
        """Say that there is something to look at: an announcement, or an order that came or went."""
        self._has_news.set()

    def hold_back(self) -> None:
        """Read no deltas while an order stands, and keep no buffer for them."""
        self._live.make_room()
        self._deltas.pause()
        self._has_news.set()

    def resume(self, passes_over: bool = False) -> None:
        """Go on behind the live version.

        Args:
            passes_over: whether the snapshot that is announced now is left alone; the next one is not.
        """
        newest = self._book.newest
        self._passed_over = newest.manifest_sha256 if passes_over and newest is not None else ""
        self._chained_epoch = -1
        self._resync_at_s, self._pause_s = None, 0.0
        if self._live.version is not None:
            self._deltas.read_from(self._live.next_offset)
        self._has_news.set()

    async def _follow(self) -> None:
        while True:
            await self._wait()
            if self._is_held_back():
                continue
            try:
                async with self._live.turn.take():
                    if not self._is_held_back():  # An order may have come while this waited for its turn.
                        await self._step()
            except OrderError:  # Counted and logged where it was refused.
                pass
            except Exception as error:  # Nothing unforeseen may end following.
                self._break(self._live.refuse("", error))

    async def _wait(self) -> None:
        """Wait for news, or until it is time to look again."""
        due_s = min((at for at in (self._resync_at_s, self._patience_ends_s()) if at is not None), default=None)
        timeout_s = None if due_s is None or self._is_held_back() else max(0.0, due_s - time.monotonic())
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_news.wait()
        except TimeoutError:
            return
        self._has_news.clear()

    async def _step(self) -> None:
        """Do the most urgent thing: a snapshot that must be loaded, the next deltas, a way back onto the chain."""
        if self._wants_snapshot():
            await self._load_announced()
        elif self._resync_at_s is None:
            self._judge(await self._live.advance())
        elif time.monotonic() >= self._resync_at_s:
            await self._resync()
        if self._deltas.has_news and self.is_intact:
            self._has_news.set()

    def _wants_snapshot(self) -> bool:
        """Whether the newest announced snapshot must be loaded: newer, and not what deltas are about to lead to."""
        newest = self._book.newest
        if newest is None or newest.manifest_sha256 == self._passed_over:
            return False
        version = ModelVersion.parse(newest.version)
        if not self._live.may_serve(version) or time.monotonic() < self._store_at_s:
            return False
        is_chained = self.is_intact and version.epoch == self._chained_epoch
        return not is_chained or (not self._deltas.has_news and self._book.age_s >= _PATIENCE_S)

    def _patience_ends_s(self) -> float | None:
        newest = self._book.newest
        if newest is None or not self.is_intact or self._passed_over == newest.manifest_sha256:
            return None
        if not self._live.may_serve(ModelVersion.parse(newest.version)):
            return None
        return max(self._book.heard_s + _PATIENCE_S, self._store_at_s, time.monotonic() + 0.05)

    async def _load_announced(self) -> None:
        newest = self._book.newest
        assert newest is not None
        try:
            await self._live.serve(newest.version, newest.manifest_sha256)
        except GivenUpError:
            raise
        except StoreAwayError:
            self._store_pause_s = min(max(_BACKOFF_S[0], 2.0 * self._store_pause_s), _BACKOFF_S[1])
            self._store_at_s = time.monotonic() + self._store_pause_s
            raise
        except OrderError:
            self._passed_over = newest.manifest_sha256
            raise
        self._store_pause_s = 0.0
        self._chained_epoch = -1
        self._mend()

    def _judge(self, prepared: Prepared) -> None:
        """Look at what became of the newest deltas."""
        if prepared.gap is not None:
            received, error = prepared.gap
            self._break(self._live.refuse("" if received.delta is None else received.delta.version, error))
        elif prepared.applied:
            self._chained_epoch = ModelVersion.parse(prepared.applied[-1].delta.manifest.version).epoch
        elif prepared.is_ahead:
            logger.info("deltas of a newer epoch wait for the snapshot that it begins with")

    def _break(self, error: Exception | None) -> None:
        """Take no more deltas as they come; look for a way back onto the chain, later each time."""
        self._live.make_room()
        self._deltas.pause()
        now_s = time.monotonic()
        if now_s - self._broken_s > _CALM_S + self._pause_s:
            self._pause_s = 0.0
        self._broken_s, self._resync_at_s = now_s, now_s + self._pause_s
        self._pause_s = min(max(_BACKOFF_S[0], 2.0 * self._pause_s), _BACKOFF_S[1])
        if error is not None:
            logger.warning("the chain of deltas does not hold (%s); building from a snapshot", error)

    def _mend(self) -> None:
        self._resync_at_s = None

    async def _resync(self) -> None:
        """Build the newest good snapshot and the deltas behind it."""
        self._live.stats.resyncs += 1
        for version in self._usable_snapshots():
            try:
                built = await self._live.rebuild(version, self._book.digest_of(version))
            except GivenUpError:
                raise
            except OrderError:
                continue
            is_here = built.buffer.image.digest == self._live.digest
            if is_here and (built.error is None or built.error.reason == "no_deltas"):
                self._deltas.read_from(built.next_offset)
                self._chained_epoch = built.buffer.version.epoch
                return self._mend()
            break
        self._break(None)
        return None

    def _usable_snapshots(self) -> list[str]:
        """Return the snapshots to build on, newest first: none that is held, or stands above the newest announced."""
        live, newest = self._live.version, self._book.newest
        bound = None if newest is None else ModelVersion.parse(newest.version)
        usable = []
        for name in reversed(self._live.stored()):
            version, state = ModelVersion.parse(name), self._live.records.status_of(name).state
            is_bad = state in (VersionState.HELD, VersionState.REJECTED)
            is_old = live is not None and version.epoch < live.epoch
            if not is_bad and not is_old and (bound is None or version <= bound):
                usable.append(name)
        return usable[:_SNAPSHOTS_TRIED]
