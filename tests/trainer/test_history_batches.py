"""Micro-batches of a history grow with what is learnt."""

from __future__ import annotations

import pytest

from trainer.history_batches import batch_samples


@pytest.mark.parametrize(("learnt", "samples"), [(0, 16), (4_351, 16), (4_352, 17), (8_192, 32), (16_384, 64)])
def test_batches_grow_with_what_is_learnt(learnt: int, samples: int) -> None:
    """From the steps that a young model needs to those of a trainer with a backlog."""
    assert batch_samples(learnt) == samples


def test_batches_stop_growing() -> None:
    """The aim of the trainer is 10 to 64."""
    assert batch_samples(10**9) == 64
