"""Two processes over gloo learn what one process learns on the batches of both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.trainer import worker_steps
from tests.trainer.worker_steps import BAD_STEP, STEPS, list_batch, make_learner, tower_batch
from trainer.ranker_learner import ListBatch

TOLERANCE = 1e-5
"""Relative and absolute, after 20 steps: sums are taken in another order."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, NDArray[Any]]]:
    """What two workers have learnt, each from its own batches."""
    folder = tmp_path_factory.mktemp("workers")
    outs = [folder / f"{rank}.safetensors" for rank in range(2)]
    script = str(Path(worker_steps.__file__))
    started = [
        subprocess.Popen([sys.executable, script, str(rank), "2", str(folder / "meeting"), str(out)])
        for rank, out in enumerate(outs)
    ]
    assert [process.wait(timeout=240) for process in started] == [0, 0]
    return [load_file(out) for out in outs]


def test_workers_have_the_same_bits(workers: list[dict[str, NDArray[Any]]]) -> None:
    """Weights, rows and optimisers of both, though neither saw the other's batches."""
    first, second = workers
    assert first.keys() == second.keys()
    assert [name for name, array in first.items() if not np.array_equal(array, second[name])] == []


def test_one_process_learns_the_same_from_all_batches(workers: list[dict[str, NDArray[Any]]]) -> None:
    """Lists and positives of both workers laid end to end, one step each."""
    learner = make_learner(None)
    for step in range(1, STEPS + 1):
        lists = [list_batch(rank, step, is_bad=step == BAD_STEP and rank == 1) for rank in range(2)]
        learner.learn_lists(ListBatch.joined(lists), step)
        learner.learn_positives(tower_batch(0, 1, step))
    for name, array in learner.arrays().items():
        np.testing.assert_allclose(workers[0][name], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def test_batch_that_is_bad_for_one_is_refused_by_all(workers: list[dict[str, NDArray[Any]]]) -> None:
    """Both leave out the same step, or their weights would part."""
    refused = [np.flatnonzero(~worker["taken"]).tolist() for worker in workers]
    assert refused == [[2 * (BAD_STEP - 1)]] * 2
