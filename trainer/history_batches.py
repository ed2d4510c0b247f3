"""How many samples of a history make a micro-batch: `headrace evaluate` and `headrace train` take the same.

A young model learns from every step, so batches begin small; a grown one learns alike in any of 10 to 64 samples, and
in large ones faster, as a trainer with a backlog does (trials in LOG.md).
"""

from __future__ import annotations

_FEWEST, _MOST = 16, 64
_LEARNT_BEFORE = 256
"""Samples learnt before, for each one of the next micro-batch."""


def batch_samples(learnt: int) -> int:
    """Return how many samples the next micro-batch has."""
    return min(max(_FEWEST, learnt // _LEARNT_BEFORE), _MOST)
