"""A user's AUC over the newest items he was shown, in bounded memory."""

from __future__ import annotations

import numpy as np

from trainer.measures.curve import auc
from trainer.measures.user_areas import ITEMS, USERS, UserAreas


def test_area_is_that_of_the_newest_items() -> None:
    """What is older than the last forty items is forgotten."""
    areas, random = UserAreas(), np.random.default_rng(1)
    scores = random.normal(size=(12, 5)).astype(np.float32)
    labels = (random.random(size=(12, 5)) < 0.4).astype(np.float32)
    found = [areas.observe("ada", *pair) for pair in zip(scores, labels, strict=True)]
    assert found[-1] == auc(scores.ravel()[-ITEMS:], labels.ravel()[-ITEMS:])


def test_one_kind_of_item_has_no_area() -> None:
    """Nobody can say whether an order of misses is right."""
    assert UserAreas().observe("ada", np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32)) is None


def test_users_are_bounded_and_the_silent_one_goes_first() -> None:
    """The two thousand who were judged last."""
    areas, one = UserAreas(), np.ones(1, dtype=np.float32)
    for user in range(USERS):
        areas.observe(f"u{user}", one, one)
    areas.observe("u0", one, one)
    areas.observe("new", one, one)
    users = areas.state()["users"]
    assert (len(users), users[0], users[-2:]) == (USERS, "u2", ["u0", "new"])
