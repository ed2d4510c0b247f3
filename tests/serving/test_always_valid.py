"""Laws of tests that somebody looks at again and again: rarely wrong without a difference, soon right with one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.arms.always_valid import Contrast, sequential_interval, sequential_p, share_p
from serving.arms.clustered_mean import ClusteredMean

LEVEL = 0.05
STREAMS = 400
MOST_WRONG = LEVEL + 3.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / STREAMS)
"""Three standard errors of counting above the level."""


def lowest_p(seed: int, lift: float, share: float = 0.5, users: int = 300, lists: int = 1500, every: int = 50) -> float:
    """Return the lowest p of all looks at a stream whose users are alike in what they like and in coming again."""
    random = np.random.default_rng(seed)
    in_arm = random.random(users) < share
    taste = np.clip(random.normal(0.3, 0.2, users), 0.0, 0.9)  # Lists of one user are alike.
    comes = random.permutation(np.arange(1, users + 1)) ** -0.7
    who = random.choice(users, lists, p=comes / comes.sum())
    liked = random.random(lists) < taste[who] + lift * in_arm[who]
    arms, mixing, lowest = (ClusteredMean(), ClusteredMean()), None, 1.0
    for number, user in enumerate(who.tolist(), 1):
        arms[int(in_arm[user])].add(str(user), 1, float(liked[number - 1]))
        if number % every == 0 and min(arm.users for arm in arms) >= 20:
            contrast = Contrast.of(arms[1], arms[0])
            mixing = contrast.mixing if mixing is None else mixing
            lowest = min(lowest, sequential_p(contrast, mixing))
    return lowest


def lowest_share_p(seed: int, share: float, ratio: float, users: int = 400) -> float:
    """Return the lowest p of a look at every user to whom something happens, `ratio` times as often in the arm."""
    random = np.random.default_rng(seed)
    chance = share * ratio / (share * ratio + 1.0 - share)
    counts = np.cumsum(random.random(users) < chance)
    return min(share_p(int(in_arm), number, share) for number, in_arm in enumerate(counts, 1))


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_streams_without_a_difference_rarely_raise_an_alarm(share: float) -> None:
    """Over 30 looks each, although users come again and an ordinary test over lists would be wrong often."""
    lists = 1500 if share == 0.5 else 3000
    wrong = sum(lowest_p(seed, 0.0, share, users=2 * lists // 10, lists=lists) < LEVEL for seed in range(STREAMS))
    assert wrong / STREAMS <= MOST_WRONG


def test_planted_drop_is_found() -> None:
    """A third of the likes is found in nine streams of ten within 3,000 lists."""
    found = sum(lowest_p(seed, -0.2, users=600, lists=3000) < LEVEL for seed in range(50))
    assert found >= 45


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_shares_without_a_difference_rarely_raise_an_alarm(share: float) -> None:
    """Looked at after every user."""
    wrong = sum(lowest_share_p(seed, share, 1.0) < LEVEL for seed in range(STREAMS))
    assert wrong / STREAMS <= MOST_WRONG


def test_failing_arm_is_found_by_its_first_users() -> None:
    """Where only the small arm fails, four users suffice for one in a thousand; twenty-fold is found always."""
    assert share_p(4, 4, 0.05) < 0.001
    assert all(lowest_share_p(seed, 0.05, 20.0) < LEVEL for seed in range(50))


def test_mean_has_the_error_of_its_users() -> None:
    """Against many draws of the same experiment, where an error over lists would be far too small."""
    means, told = [], []
    for seed in range(300):
        random = np.random.default_rng(seed)
        mean = ClusteredMean()
        for user in range(60):
            size, taste = int(random.integers(1, 30)), random.random()
            mean.add(str(user), size)
            mean.add(str(user), amount=float(np.sum(random.random(size) < taste)))
        means.append(mean.mean)
        told.append(mean.variance)
    assert np.mean(told) == pytest.approx(np.var(means), rel=0.25)


def test_interval_is_what_the_p_value_does_not_refuse() -> None:
    """At either end p is the level; too few users say nothing."""
    contrast = Contrast(0.03, 1e-4, 200.0)
    for end in sequential_interval(contrast):
        assert sequential_p(Contrast(0.03 - end, 1e-4, 200.0), contrast.mixing) == pytest.approx(LEVEL)
    one = ClusteredMean()
    one.add("ann", 1)
    alone = Contrast.of(one, one)
    assert (sequential_p(alone), sequential_interval(alone)) == (1.0, (-math.inf, math.inf))


def test_arms_that_never_vary_are_equal_or_not() -> None:
    """Without any variance a difference is certain, and no difference is none."""
    assert [sequential_p(Contrast(d, 0.0, 100.0)) for d in (0.0, 0.1)] == [1.0, 0.0]
