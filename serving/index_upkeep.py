"""Makes indexes of large catalogues: one with every version that is built, and newer ones beside what serves.

A thread of its own makes the newer ones of a copy of the vectors, while deltas go on. No more than a twentieth of the
time goes into them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.delta_reader import GIVEN_UP
from serving.near_rows import NearRows, VectorsThen
from serving.serving_model import ServingModel
from serving.tower_index import TowerIndex, make_index
from trainer.model import user_vector
from trainer.version_files import VersionError

logger = logging.getLogger(__name__)

_SHARE_OF_TIME = 0.05
"""Most of the process's time that goes into indexes."""
_MOVED = 0.01
"""Share of rows that have moved far, from which on a newer index is wanted ..."""
_OLDEST_S = 300.0
"""... as it is after this."""
_RETRY_S = 600.0
"""When it is tried again where all products were as quick, or something failed."""
_FIGURES = {
    "items": "Items in the index of the tower; 0 where all products are taken.",
    "recall": "Part of the 100 nearest that it finds, measured when it was made.",
    "probes": "Lists that a query looks at.",
    "bytes": "Memory of the index, and of the vectors that it was made of.",
    "moved_rows": "Rows that are looked at beside it, as they came or moved far since it was made.",
}
_QUERIES, _HISTORY = 128, 10
"""Made-up users by whom lists are chosen and recall is told, and the longest history of one."""


class Copied(NamedTuple):
    """What an index is made of, copied where no delta is written."""

    vectors: NDArray[np.float32]
    """(N, D)"""
    queries: NDArray[np.float32]
    """(Q, D)"""


def copied_of(model: ServingModel) -> Copied:
    """Copy of a version, which nobody writes meanwhile, what its index is made of."""
    return Copied(model.item_vectors.copy(), made_up_users(model, _QUERIES))


def made_up_users(model: ServingModel, size: int) -> NDArray[np.float32]:
    """Return vectors of users who had an item and some that go with it; every second is one the version knows, (Q, D).

    Args:
        model: the version.
        size: Q.
    """
    random = np.random.default_rng(model.num_items)
    users, neighbours = model.user_embedding, model.counts.pairs.neighbours
    made = []
    for number in range(size):
        row = int(random.integers(model.num_items))
        following = neighbours[row][: random.integers(_HISTORY)] if row < len(neighbours) else neighbours[:0, 0]
        history = np.concatenate(([row], following[(following >= 0) & (following < model.num_items)])).astype(np.int64)
        user = users[random.integers(len(users))] if number % 2 and len(users) else None
        liked = np.ones(len(history), dtype=np.int64)
        made.append(user_vector(model.projection, user, model.item_vectors[history], liked))
    return np.array(made, dtype=np.float32)


class IndexUpkeep(Collector):
    """Keeps the index of what serves.

    Args:
        min_items: fewer need none; 0 for never.
    """

    def __init__(self, min_items: int) -> None:
        self.near = NearRows()
        """Of the live version."""
        self._min_items = min_items
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="make index")
        self._renewing: asyncio.Task[None] | None = None
        self._not_before_s = float("-inf")
        self._began_s = float("-inf")
        self._is_closing = False
        self._made = {"used": 0, "not_used": 0, "failed": 0}

    def for_version(self, model: ServingModel, may_go_on: Callable[[], bool]) -> NearRows:
        """Make the index of a version that was built and that nobody writes; in the worker that built it.

        Raises:
            VersionError: work was given up (`given_up`).
        """
        near = NearRows()
        if self._is_large(model.num_items):
            copied = copied_of(model)
            near.take_over(near.begin(copied.vectors), self._index_of(copied, may_go_on))
        if not may_go_on():
            raise VersionError(GIVEN_UP, f"the index of version {model.version} was not made to its end")
        return near

    def is_due(self, num_items: int) -> bool:
        """Say whether a newer index of the live version is to be begun."""
        now_s, near = time.monotonic(), self.near
        if not self._is_large(num_items) or self._renewing is not None or now_s < self._not_before_s:
            return False
        return near.index is None or near.num_moved > _MOVED * num_items or now_s - self._began_s > _OLDEST_S

    async def begin(self, live: ServingModel) -> None:
        """Begin a newer index of the live version, which nobody writes until this returns; then deltas may go on."""
        try:
            copied = await asyncio.get_running_loop().run_in_executor(self._worker, copied_of, live)
        except Exception:
            logger.exception("could not copy what an index of the tower is made of")
            self._not_before_s = time.monotonic() + _RETRY_S
            return
        then = self.near.begin(copied.vectors)
        self._renewing = asyncio.create_task(self._renew(self.near, then, copied), name="make the index of the tower")

    async def close(self) -> None:
        """Give up what is in the making, and end the thread."""
        self._is_closing = True
        if self._renewing is not None:
            await asyncio.gather(self._renewing, return_exceptions=True)
        await asyncio.to_thread(self._worker.shutdown)

    async def _renew(self, near: NearRows, then: VectorsThen, copied: Copied) -> None:
        loop = asyncio.get_running_loop()
        index = await loop.run_in_executor(self._worker, self._index_of, copied, lambda: not self._is_closing)
        near.take_over(then, index)
        self._renewing = None

    def _index_of(self, copied: Copied, may_go_on: Callable[[], bool]) -> TowerIndex | None:
        """Make an index, in any thread; None where all products are taken, which always can be."""
        self._began_s, pause_s = time.monotonic(), _RETRY_S
        index, became = None, "not_used"
        try:
            index = make_index(copied.vectors, copied.queries, may_go_on)
        except Exception:  # No memory, no faiss: answers need none.
            logger.exception("could not make an index of the tower; all products are taken")
            became = "failed"
        if index is not None:
            became, pause_s = "used", index.took_s / _SHARE_OF_TIME
        self._made[became] += 1
        self._not_before_s = time.monotonic() + pause_s
        return index

    def _is_large(self, num_items: int) -> bool:
        return 0 < self._min_items <= num_items

    def told(self) -> dict[str, float]:
        """Return what the status says of the live version's index; nothing where all products are taken."""
        near, index = self.near, self.near.index
        if index is None:
            return {}
        figures = {"items": index.num_items, "recall": round(index.recall, 4), "probes": index.probes}
        return figures | {"bytes": near.num_bytes, "moved_rows": near.num_moved}

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        told = self.told()
        for name, meaning in _FIGURES.items():
            yield GaugeMetricFamily(f"headrace_serving_tower_index_{name}", meaning, told.get(name, 0))
        made = CounterMetricFamily("headrace_serving_tower_indexes_made", "Indexes made.", labels=["result"])
        for result, count in self._made.items():
            made.add_metric([result], count)
        yield made
