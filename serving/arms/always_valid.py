"""Tests and intervals that stay valid however often somebody looks, and stop the first time they say something.

An ordinary 95 % test that is looked at again and again is wrong far more often than once in twenty. These are not: the
chance that they are ever wrong, over all looks together, stays below their level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.arms.clustered_mean import ClusteredMean

_USERS_SOUGHT = 1000.0
"""Users an arm where the mixture is narrowest: half again as wide as the interval of a single look."""
_MIXING = (-2.0 * math.log(0.05) + math.log(-2.0 * math.log(0.05) + 1.0)) / (_USERS_SOUGHT / 2.0)
"""Variance of the mixture in variances of one unit (Waudby-Smith et al. 2021, arXiv 2103.06476, B.2)."""


@dataclass(frozen=True)
class Contrast:
    """How an arm differs from the control, up to normal error."""

    difference: float
    variance: float
    units: float
    """Users that the difference rests on: a b / (a + b) of arms with a and b users."""

    @classmethod
    def of(cls, arm: ClusteredMean, control: ClusteredMean, factor: float = 1.0) -> Contrast:
        """Return mean(arm) - factor * mean(control)."""
        users = arm.users + control.users
        return cls(
            arm.mean - factor * control.mean,
            arm.variance + factor * factor * control.variance,
            arm.users * control.users / users if users else 0.0,
        )

    @property
    def mixing(self) -> float:
        """Variance of the differences that the mixture looks for; a test that goes on keeps its first."""
        return _MIXING * self.variance * self.units


def sequential_p(contrast: Contrast, mixing: float | None = None) -> float:
    """Return the always-valid p-value of no difference: 1 / likelihood ratio of the mixture, at most 1.

    The mixture sequential probability ratio test: sqrt(V / (V + m)) exp(m d^2 / (2 V (V + m))) for the difference d
    with variance V and normal mixture of variance m (Johari, Koomen, Pekelis and Walsh 2017, "Peeking at A/B tests",
    https://doi.org/10.1145/3097983.3097992), with users as units.

    Args:
        contrast: what was seen.
        mixing: m; that of the contrast where it is not given.
    """
    variance = contrast.variance
    if not math.isfinite(variance):
        return 1.0
    if variance <= 0.0:
        return 1.0 if contrast.difference == 0.0 else 0.0
    mixing = contrast.mixing if mixing is None else mixing
    total = variance + mixing
    log_ratio = 0.5 * math.log(variance / total) + mixing * contrast.difference**2 / (2.0 * variance * total)
    return math.exp(min(0.0, -log_ratio))


def sequential_interval(contrast: Contrast, level: float = 0.05) -> tuple[float, float]:
    """Return the differences that `sequential_p` does not refuse at a level."""
    variance, mixing = contrast.variance, contrast.mixing
    if not math.isfinite(variance):
        return -math.inf, math.inf
    if variance <= 0.0:
        return contrast.difference, contrast.difference
    total = variance + mixing
    side = math.sqrt(variance * total / mixing * (math.log(total / variance) - 2.0 * math.log(level)))
    return contrast.difference - side, contrast.difference + side


def share_p(in_arm: int, in_all: int, share: float) -> float:
    """Return the always-valid p-value of an arm having its share of users whom something happened to.

    Users are dealt by a hash: where the arm is like the others, each user whom it happens to is one of the arm's with
    the chance `share`, whatever else is known of him. So the count is binomial, exactly, and its likelihood ratio
    against an even mixture of all shares is a martingale (sequential multinomial test: Lindon, Sanden and Shirikian
    2022, "Rapid regression detection in software deployments", https://arxiv.org/abs/2205.14762).

    Args:
        in_arm: users of the arm, each counted once.
        in_all: users of both.
        share: of the arm.
    """
    others = in_all - in_arm
    mixture = math.lgamma(1.0 + in_arm) + math.lgamma(1.0 + others) - math.lgamma(2.0 + in_all)
    log_ratio = mixture - in_arm * math.log(share) - others * math.log1p(-share)
    return math.exp(min(0.0, -log_ratio))
