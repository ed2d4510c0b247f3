"""Runs the laws on the CPU in every test run, and on CUDA where there is a device."""

from __future__ import annotations

import pytest
import torch

from tests.cuda.recorded import batches
from trainer.recorded_batches import RecordedBatches


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn; CUDA is skipped where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: run `make test-cuda` on a machine that has one")
    return str(request.param)


@pytest.fixture(scope="session")
def recorded() -> RecordedBatches:
    """Seeded batches."""
    return batches(None)
