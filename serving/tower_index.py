"""An approximate index of item vectors: which rows are near a user's vector, without a product with all of them.

Inverted lists around centroids, of vectors rounded to 8 bits a number (faiss, `IndexIVFScalarQuantizer`; Jégou et al.
2011, "Product quantization for nearest neighbor search", https://doi.org/10.1109/TPAMI.2010.57, section IV). What it
names is scored with the vectors of the version that answers, so rounding and age cost recall, never a wrong score.
Letters: `N` items, `D` embedding, `Q` queries, `K` = `RECALL_AT`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.blas_threads import limit_blas_threads

logger = logging.getLogger(__name__)

RECALL_AT = 100
"""Of so many nearest of all items an index must find ..."""
LEAST_RECALL = 0.95
"""... this part; lists are probed until it does."""
_PROPOSED = 2
"""Rows that are asked for, in multiples of those that are wanted: rounding changes their order."""
_MOST_LISTS = 1024
"""More take longer to make, and bring little up to ten million items."""
_SAMPLE = 64
"""Vectors a list from which its centroid is learnt."""
_ROUNDS = 10
"""Of k-means."""
_CHUNK = 65_536
"""Items that are put in at once: a fifth of a second, in which the server may be told to stop."""
_QUERIES_AT_ONCE = 8
"""Queries whose products with all items are in memory at once."""
_TIMED = 16
"""Queries that are timed."""
_WORTH = 0.75
"""Share of the time of all products that an index may take: those of the pool come on top of it."""


class TowerIndex:
    """An index of the vectors as they were; only the event loop searches it, and nothing changes it.

    Args:
        lists: faiss's index.
        num_items: N.
    """

    def __init__(self, lists: Any, num_items: int) -> None:
        self._lists = lists
        self.num_items = num_items
        self.recall = 0.0
        """Part of the `RECALL_AT` nearest that it finds, of users that its lists were not chosen by."""
        self.took_s = 0.0
        """Seconds of CPU that it took to make."""

    @property
    def num_lists(self) -> int:
        """All lists."""
        return int(self._lists.nlist)

    @property
    def probes(self) -> int:
        """Lists that a query looks at."""
        return int(self._lists.nprobe)

    @property
    def num_bytes(self) -> int:
        """Memory of codes and row numbers."""
        return self.num_items * int(self._lists.code_size + 8)

    def near_rows(self, user_vector: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
        """Return different rows, twice `wanted` or `RECALL_AT` of them at most; (D,) -> (any,)."""
        rows: NDArray[np.int64] = self._lists.search(user_vector[None], _PROPOSED * max(wanted, RECALL_AT))[1][0]
        return rows[rows >= 0]

    def probe(self, vectors: NDArray[np.float32], chosen: NDArray[np.float32], told: NDArray[np.float32]) -> bool:
        """Look at as few lists as give `LEAST_RECALL` for both halves of the queries; say whether any number does.

        Args:
            vectors: (N, D) that it was made of.
            chosen: (Q, D) by which the number of lists is chosen.
            told: (Q, D) whose recall is told.
        """
        bounds = _bounds(vectors, chosen), _bounds(vectors, told)
        for probes in _steps(self.num_lists):
            self._lists.nprobe = probes
            if self._recall(vectors, chosen, bounds[0]) < LEAST_RECALL:
                continue
            self.recall = self._recall(vectors, told, bounds[1])
            if self.recall >= LEAST_RECALL:
                return True
        return False

    def _recall(self, vectors: NDArray[np.float32], queries: NDArray[np.float32], bounds: NDArray[np.float32]) -> float:
        """Return the part of the nearest that is found; what scores as much as the last of them is one of them."""
        wanted = min(RECALL_AT, len(vectors))
        found = 0
        for query, bound in zip(queries, bounds, strict=True):
            scores = vectors[self.near_rows(query, RECALL_AT)] @ query
            found += min(wanted, int(np.count_nonzero(scores >= bound - 1e-5 * abs(bound))))
        return found / (wanted * len(queries))


def make_index(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], may_go_on: Callable[[], bool] = lambda: True
) -> TowerIndex | None:
    """Make an index, in any thread; None where all products are as quick, or it was not to be finished.

    Args:
        vectors: (N, D), not written meanwhile.
        queries: (Q, D) user vectors such as will be asked for; half of them choose, the other half tell the recall.
        may_go_on: asked every fifth of a second, but for two seconds of k-means.
    """
    # Only who has a large catalogue pays for it: a fifth of a second and 60 MB.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    limit_blas_threads(1)  # It brings a BLAS of its own, and OpenMP counts by thread.
    faiss.omp_set_num_threads(1)
    started_s, size = time.thread_time(), len(vectors)
    num_lists = min(_MOST_LISTS, 2 ** round(np.log2(size) / 2))
    centroids = faiss.IndexFlatIP(vectors.shape[1])
    kind = faiss.ScalarQuantizer.QT_8bit
    lists = faiss.IndexIVFScalarQuantizer(centroids, vectors.shape[1], num_lists, kind, faiss.METRIC_INNER_PRODUCT)
    lists.cp.niter, lists.cp.min_points_per_centroid = _ROUNDS, 1
    sample = np.random.default_rng(size).choice(size, min(size, _SAMPLE * num_lists), replace=False)
    lists.train(vectors[np.sort(sample)])
    for first in range(0, size, _CHUNK):
        if not may_go_on():
            return None
        lists.add(vectors[first : first + _CHUNK])
    index = TowerIndex(lists, size)
    half = len(queries) // 2
    is_good = index.probe(vectors, queries[:half], queries[half:])
    index.took_s = time.thread_time() - started_s
    return index if is_good and _is_worth_it(index, vectors, queries[:_TIMED]) else None


def _is_worth_it(index: TowerIndex, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> bool:
    """Compare the time of CPU that the index takes with that of all products, and tell of both."""
    with_index = _mean_s(lambda query: vectors[index.near_rows(query, RECALL_AT)] @ query, queries)
    exact = _mean_s(lambda query: vectors @ query, queries)
    is_worth_it = with_index <= _WORTH * exact
    logger.info(
        "an index of %d items: %d of %d lists for recall@%d %.3f, %.0f us a query in place of %.0f: %s; made in %.1f s",
        *(len(vectors), index.probes, index.num_lists, RECALL_AT, index.recall),
        *(with_index * 1e6, exact * 1e6, "used" if is_worth_it else "not used", index.took_s),
    )
    return is_worth_it


def _mean_s(ask: Callable[[NDArray[np.float32]], Any], queries: NDArray[np.float32]) -> float:
    started_s = time.thread_time()
    for query in queries:
        ask(query)
    return (time.thread_time() - started_s) / len(queries)


def _bounds(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the score of each query's `RECALL_AT`-th nearest of all items; (N, D), (Q, D) -> (Q,)."""
    place = -min(RECALL_AT, len(vectors))
    parts = [queries[first : first + _QUERIES_AT_ONCE] for first in range(0, len(queries), _QUERIES_AT_ONCE)]
    bounds = [np.partition(part @ vectors.T, place, axis=1)[:, place] for part in parts]
    return np.concatenate(bounds)


def _steps(num_lists: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12 .. `num_lists`."""
    steps = {factor * 2**power // 2 for power in range(1, 32) for factor in (2, 3)}
    return sorted({min(step, num_lists) for step in steps})
