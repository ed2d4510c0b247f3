"""Factors find who likes what, by the usual steps, and go on alike after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import rating_factors
from trainer.rating_factors import RatingFactors


def test_a_step_is_gradient_descent_on_the_squared_error() -> None:
    """The first event, and its ten repetitions, as there is nothing else to replay."""
    factors = RatingFactors(seed=4)
    before = factors.arrays()
    user, item = before["users"][2].copy(), before["items"][3].copy()
    factors.learn(2, 3, 1.5)
    for _ in range(11):
        error = 1.5 - user[8] - item[8] - user[:8] @ item[:8]
        step_user, step_item = error * item[:8] - 0.08 * user[:8], error * user[:8] - 0.08 * item[:8]
        user[:8], item[:8] = user[:8] + 0.03 * step_user, item[:8] + 0.03 * step_item
        user[8], item[8] = user[8] + 0.03 * (error - 0.08 * user[8]), item[8] + 0.03 * (error - 0.08 * item[8])
    np.testing.assert_allclose(factors.arrays()["users"][2], user, rtol=1e-9)
    np.testing.assert_allclose(factors.arrays()["items"][3], item, rtol=1e-9)


def test_opposite_tastes_are_found() -> None:
    """Neither users nor items differ in their means, so biases cannot tell."""
    factors, random = RatingFactors(seed=1), np.random.default_rng(1)
    for _ in range(4000):
        user, item = (int(n) for n in random.integers(20, size=2))
        factors.learn(user, item, 1.0 if user % 2 == item % 2 else -1.0)
    affinity = np.array([[factors.inputs(user, item)[2] for item in range(20)] for user in range(20)])
    alike = np.arange(20)[:, None] % 2 == np.arange(20) % 2
    assert affinity[alike].min() > 0.3 > -0.3 > affinity[~alike].max()


@pytest.mark.parametrize("size", [30, 300])
def test_restored_factors_go_on_alike(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, whether or not the memory for replay is full, and over growth."""
    monkeypatch.setattr(rating_factors, "_KEPT", 100)
    random = np.random.default_rng(2)
    stream = [
        (int(u), int(i), float(z))
        for u, i, z in zip(*random.integers(200, size=(2, 2 * size)), random.normal(size=2 * size), strict=True)
    ]
    straight, first, second = (RatingFactors(seed=7) for _ in range(3))
    for one in stream:
        straight.learn(*one)
    for one in stream[:size]:
        first.learn(*one)
    second.restore(first.arrays())
    for one in stream[size:]:
        second.learn(*one)
    for name, array in straight.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
