"""Laws of the index of the tower: it finds what is near, or says that there is none worth asking."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from serving import tower_index
from serving.tower_index import LEAST_RECALL, RECALL_AT, TowerIndex, make_index
from tests.running_stack import ROOT

SIZE, DIM = 20_000, 16
Vectors = NDArray[np.float32]


def made_vectors(kind: str, size: int, seed: int) -> Vectors:
    """Return vectors without any structure, or around forty centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(40, DIM))
    spread = random.normal(size=(size, DIM))
    return (spread if kind == "random" else centres[random.integers(40, size=size)] + 0.3 * spread).astype(np.float32)


def recall(index: TowerIndex, vectors: Vectors, queries: Vectors) -> float:
    """Return the part of the nearest that an index finds, by a plain sort."""
    found = [
        len({*np.argsort(-(vectors @ query))[:RECALL_AT].tolist()} & {*index.near_rows(query, RECALL_AT).tolist()})
        for query in queries
    ]
    return float(np.mean(found)) / RECALL_AT


@pytest.fixture
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take an index however long it takes."""
    monkeypatch.setattr(tower_index, "_WORTH", np.inf)


@pytest.mark.usefixtures("always_worth_it")
@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_an_index_finds_what_it_tells(kind: str) -> None:
    """Users whom it has never seen, too; the rows are different ones."""
    vectors = made_vectors(kind, SIZE, 2)
    index = make_index(vectors, made_vectors(kind, 64, 3))
    assert index is not None
    others = made_vectors(kind, 64, 4)
    assert index.recall >= LEAST_RECALL
    assert recall(index, vectors, others) == pytest.approx(index.recall, abs=0.03)
    assert all(len(np.unique(rows)) == len(rows) for rows in (index.near_rows(query, 500) for query in others))


@pytest.mark.usefixtures("always_worth_it")
def test_vectors_with_structure_need_few_lists() -> None:
    """Random ones need many: the number is measured, not set."""
    probes = []
    for kind in ("clustered", "random"):
        index = make_index(made_vectors(kind, SIZE, 2), made_vectors(kind, 64, 3))
        assert index is not None
        probes.append(index.probes)
        assert index.probes < index.num_lists
    assert 4 * probes[0] < probes[1]


def test_no_index_where_all_products_are_as_quick() -> None:
    """A thousand products take microseconds."""
    assert make_index(made_vectors("random", 1000, 2), made_vectors("random", 32, 3)) is None


@pytest.mark.usefixtures("always_worth_it")
def test_making_is_given_up_when_told() -> None:
    """Between two parts of the items."""
    asked = iter([True, False])
    assert make_index(made_vectors("random", 150_000, 2), made_vectors("random", 8, 3), lambda: next(asked)) is None


@pytest.mark.usefixtures("always_worth_it")
def test_vectors_all_alike_are_found() -> None:
    """A new model's are: what scores as much as the nearest is as near."""
    index = make_index(np.ones((500, 4), dtype=np.float32), np.ones((8, 4), dtype=np.float32))
    assert index is not None
    assert (index.recall, len(index.near_rows(np.ones(4, dtype=np.float32), 20))) == (1.0, 200)


def test_a_server_of_a_small_catalogue_never_loads_the_library() -> None:
    """And where it is loaded, torch still works beside it."""
    code = """
import sys
import torch, serving.server
assert "faiss" not in sys.modules
import numpy as np
from serving import tower_index
tower_index._WORTH = np.inf
vectors = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
assert tower_index.make_index(vectors, vectors[:16]).recall >= 0.95
import faiss
assert "faiss" in sys.modules and faiss.omp_get_max_threads() == 1
product = torch.from_numpy(vectors) @ torch.from_numpy(vectors).T
assert np.allclose(product.numpy(), vectors @ vectors.T, atol=1e-4)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})
