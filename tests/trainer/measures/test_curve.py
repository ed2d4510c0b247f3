"""Histograms say what a sort over all predictions says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.measures.curve import RECENT, Curve, RecentScores, auc


def _predictions(size: int, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    chances = 1.0 / (1.0 + np.exp(-random.normal(size=size)))
    return chances, (random.uniform(size=size) < chances).astype(np.float32)


def test_auc_counts_pairs() -> None:
    """Three of the four pairs stand right, a tie counts half."""
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    assert auc(np.array([0.9, 0.1, 0.4, 0.5]), labels) == 0.75
    assert auc(np.array([0.9, 0.1, 0.5, 0.5]), labels) == 0.875
    assert auc(np.array([0.9, 0.1]), np.ones(2)) is None


def test_histogram_equals_a_full_sort() -> None:
    """AUC to 1e-5; logloss and calibration but for rounding."""
    chances, labels = _predictions(20_000)
    curve = Curve()
    for start in range(0, len(labels), 37):
        curve.observe(chances[start : start + 37], labels[start : start + 37])
    values = curve.values()
    losses = np.where(labels > 0, -np.log(chances), -np.log(1.0 - chances))
    assert values["auc"] == pytest.approx(auc(chances, labels), abs=1e-5)
    assert values["logloss"] == pytest.approx(losses.mean())


def test_calibration_error_is_the_mean_gap() -> None:
    """True chances have next to none, chances that are .2 too low have .2."""
    chances, labels = _predictions(20_000)
    true, low = Curve(), Curve()
    true.observe(chances, labels)
    low.observe(np.full(1000, 0.3), (np.arange(1000) % 2).astype(np.float32))
    assert true.values()["ece"] < 0.015
    assert low.values()["ece"] == pytest.approx(0.2)


def test_window_is_exact_and_bounded() -> None:
    """What is older than the window does not count."""
    chances, labels = _predictions(4 * RECENT)
    recent = RecentScores()
    for start in range(0, len(labels), 100):
        recent.observe(chances[start : start + 100], labels[start : start + 100])
    assert recent.values()["auc"] == pytest.approx(auc(chances[-RECENT:].astype(np.float32), labels[-RECENT:]))
    assert len(recent._pairs) <= 2 * RECENT
