"""What the fault tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.faults.kill_stream import APP
from tests.trainer.test_restart import Life


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A stream and an empty state directory."""
    return Life(APP, tmp_path)
