"""Laws of judging a canary: one that is as good is rarely rolled back, each kind of fall is found, margins hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from serving.answers import FEWER_CANDIDATES, RANKER_FAILED
from serving.arms.canary_trial import CanaryTrial
from serving.config import CANARY_ARM, STABLE_ARM, CanaryConfig

STREAMS, LEVEL = 200, 0.05
MOST_WRONG = LEVEL + 3.0 * math.sqrt(LEVEL * (1.0 - LEVEL) / STREAMS)
CONFIG = CanaryConfig(level=LEVEL, min_users=30, latency_ratio=1.25)


def fall_of(
    seed: int,
    failed: float = 1.0,
    cut: float = 1.0,
    slow: float = 1.0,
    liked: float = 1.0,
    lists: int = 1500,
    share: float = 0.3,
    config: CanaryConfig = CONFIG,
) -> str:
    """Return why a canary went that is so many times as bad, looked at after every 50 lists of users who come again."""
    random = np.random.default_rng(seed)
    trial, users = CanaryTrial(config, share), 300
    in_canary = random.random(users) < share
    taste, speed = random.uniform(0.1, 0.5, users), random.normal(-6.0, 0.3, users)
    for number, user in enumerate(random.integers(0, users, lists).tolist(), 1):
        is_canary = bool(in_canary[user])
        arm, by = (CANARY_ARM if is_canary else STABLE_ARM), int(is_canary)
        chance = random.random()
        reasons: tuple[str, ...] = ()
        if chance < 0.02 * failed**by:
            reasons = (RANKER_FAILED,)
        elif chance > 1.0 - 0.02 * cut**by:
            reasons = (FEWER_CANDIDATES,)
        took_s = math.exp(speed[user] + random.normal(0.0, 0.5)) * slow**by
        trial.answered(arm, str(user), took_s, reasons, True)
        if random.random() < taste[user] * liked**by:
            trial.earned(arm, str(user), 1.0)
        if number % 50 == 0 and (why := trial.fall()):
            return why
    return ""


def test_canary_that_is_as_good_is_rarely_rolled_back() -> None:
    """Over four signals and 30 looks together, below the level."""
    wrong = sum(bool(fall_of(seed)) for seed in range(STREAMS))
    assert wrong / STREAMS <= MOST_WRONG


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"failed": 10.0}, "the model failed to rank"),
        ({"cut": 10.0}, "cut for time"),
        ({"slow": 2.0}, "a ranking takes"),
        ({"liked": 0.3}, "reward a list"),
    ],
)
def test_every_kind_of_fall_is_found(worse: dict[str, Any], why: str) -> None:
    """In nine streams of ten, and told by what fell."""
    assert sum(why in fall_of(seed, **worse) for seed in range(20)) >= 18


@pytest.mark.parametrize("better", [{"failed": 0.1}, {"slow": 0.5}, {"liked": 1.8}])
def test_better_canary_is_no_fall(better: dict[str, Any]) -> None:
    """Differences count in one direction only."""
    assert sum(bool(fall_of(seed, **better)) for seed in range(20)) <= 2


def test_what_the_thresholds_allow_is_no_fall() -> None:
    """Twice the failures, a fifth slower, a tenth less reward: within the margins of this configuration."""
    config = CONFIG.model_copy(update={"error_ratio": 3.0, "reward_loss": 0.3})
    wrong = sum(bool(fall_of(seed, failed=2.0, slow=1.15, liked=0.9, config=config)) for seed in range(40))
    assert wrong <= 4


def test_canary_that_fails_everybody_goes_with_its_first_users() -> None:
    """No minimum of users holds this back: five of the small share suffice."""
    trial = CanaryTrial(CanaryConfig(), 0.05)
    for number in range(5):
        trial.answered(CANARY_ARM, f"user-{number}", 0.001, (RANKER_FAILED,), True)
    assert trial.fall().startswith("5 of 5 users got a list that the model failed to rank, 0 of 0 beside it")


def test_few_users_say_nothing_of_reward_and_latency() -> None:
    """Below `min_users` in either arm nothing is judged, however large the difference."""
    trial = CanaryTrial(CanaryConfig(min_users=30), 0.5)
    for number in range(29):
        trial.answered(CANARY_ARM, f"c-{number}", 1.0, (), True)
        for arm_user in (f"s-{number}", f"t-{number}"):
            trial.answered(STABLE_ARM, arm_user, 0.001, (), True)
            trial.earned(STABLE_ARM, arm_user, 1.0)
    assert (trial.fall(), trial.has_enough) == ("", False)
    trial.answered(CANARY_ARM, "c-29", 1.0, (), True)
    assert trial.has_enough
    assert "a ranking takes" in trial.fall()
