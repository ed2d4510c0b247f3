"""What a canary is judged by: users whose rankings fail or are cut, latency, reward, beside the version it may replace.

Each signal has an always-valid test (`serving/arms/always_valid.py`) at a quarter of the level, so that the chance of
rolling a version back that is as good stays below the level, over all signals and all looks. No knowledge of versions,
Kafka or clocks here.
"""

from __future__ import annotations

import math
from dataclasses import replace

from serving.answers import CACHED_RANKING, FEWER_CANDIDATES, POPULARITY_ONLY, RANKER_FAILED
from serving.arms.always_valid import Contrast, sequential_p, share_p
from serving.arms.clustered_mean import ClusteredMean
from serving.config import CANARY_ARM, STABLE_ARM, CanaryConfig

_SIGNALS = 4
_CUTS = frozenset((FEWER_CANDIDATES, CACHED_RANKING, POPULARITY_ONLY))
"""Reasons that say that a ranking was expected to take too long."""
_SHORTEST_S = 1e-6


class _Means:
    """A mean of both arms, and the mixture of its test, which keeps what it began with."""

    def __init__(self) -> None:
        self.arms = {STABLE_ARM: ClusteredMean(), CANARY_ARM: ClusteredMean()}
        self._mixing: float | None = None

    @property
    def fewest_users(self) -> int:
        return min(mean.users for mean in self.arms.values())

    def contrast(self, factor: float = 1.0) -> Contrast:
        return Contrast.of(self.arms[CANARY_ARM], self.arms[STABLE_ARM], factor)

    def p_value(self, contrast: Contrast) -> float:
        if self._mixing is None:
            self._mixing = contrast.mixing
        return sequential_p(contrast, self._mixing or None)


class CanaryTrial:
    """Takes lists and rewards in, and says whether the canary must go.

    Args:
        config: thresholds.
        share: of the users who get the canary.
    """

    def __init__(self, config: CanaryConfig, share: float) -> None:
        self._config = config
        self._share = share
        self._level = config.level / _SIGNALS
        self._latency, self._reward = _Means(), _Means()
        self._users: dict[str, set[str]] = {STABLE_ARM: set(), CANARY_ARM: set()}
        self._failed: dict[str, set[str]] = {STABLE_ARM: set(), CANARY_ARM: set()}
        self._cut: dict[str, set[str]] = {STABLE_ARM: set(), CANARY_ARM: set()}

    @property
    def users(self) -> dict[str, int]:
        """Arm -> users who got a list."""
        return {arm: len(users) for arm, users in self._users.items()}

    @property
    def failed_users(self) -> dict[str, int]:
        """Arm -> users who got one that could not be ranked."""
        return {arm: len(users) for arm, users in self._failed.items()}

    @property
    def rewards(self) -> dict[str, float]:
        """Arm -> reward a list."""
        return {arm: mean.mean for arm, mean in self._reward.arms.items()}

    @property
    def latencies_ms(self) -> dict[str, float]:
        """Arm -> geometric mean of what a ranking took."""
        return {arm: 1e3 * math.exp(mean.mean) for arm, mean in self._latency.arms.items() if mean.lists}

    @property
    def has_enough(self) -> bool:
        """Whether so many users got either version that the tests have begun."""
        return min(map(len, self._users.values())) >= self._config.min_users

    def answered(self, arm: str, user_id: str, took_s: float, reasons: tuple[str, ...], is_learnt: bool) -> None:
        """Take one list in."""
        self._users[arm].add(user_id)
        if RANKER_FAILED in reasons:
            self._failed[arm].add(user_id)
        elif _CUTS.isdisjoint(reasons):
            self._latency.arms[arm].add(user_id, 1, math.log(max(took_s, _SHORTEST_S)))
        else:
            self._cut[arm].add(user_id)
        if is_learnt:
            self._reward.arms[arm].add(user_id, 1)

    def earned(self, arm: str, user_id: str, reward: float) -> None:
        """Take feedback on one of those lists in."""
        self._reward.arms[arm].add(user_id, amount=reward)

    def fall(self) -> str:
        """Return why the canary must go, empty where nothing is certain."""
        config = self._config
        return (
            self._more_users(self._failed, config.error_ratio, "got a list that the model failed to rank")
            or self._more_users(self._cut, config.latency_ratio, "got a list that was cut for time")
            or self._slower()
            or self._less_reward()
        )

    def _more_users(self, hit: dict[str, set[str]], ratio: float, what: str) -> str:
        """Say whether something happens to more of the canary's users than chance explains; right from the first."""
        canary, both = len(hit[CANARY_ARM]), sum(map(len, hit.values()))
        allowed = self._share * ratio / (self._share * ratio + 1.0 - self._share)
        p = share_p(canary, both, allowed) if canary > allowed * both else 1.0
        users, others = self.users[CANARY_ARM], self.users[STABLE_ARM]
        return self._certain(f"{canary} of {users} users {what}, {both - canary} of {others} beside it", p)

    def _slower(self) -> str:
        if self._latency.fewest_users < self._config.min_users:
            return ""
        contrast = self._latency.contrast()
        contrast = replace(contrast, difference=contrast.difference - math.log(self._config.latency_ratio))
        p = self._latency.p_value(contrast) if contrast.difference > 0.0 else 1.0
        canary, stable = (self.latencies_ms[arm] for arm in (CANARY_ARM, STABLE_ARM))
        return self._certain(f"a ranking takes {canary:.2f} ms, {stable:.2f} ms beside it", p)

    def _less_reward(self) -> str:
        if self._reward.fewest_users < self._config.min_users:
            return ""
        stable = self._reward.arms[STABLE_ARM].mean
        contrast = self._reward.contrast(1.0 - math.copysign(self._config.reward_loss, stable))
        p = self._reward.p_value(contrast) if contrast.difference < 0.0 else 1.0
        canary = self._reward.arms[CANARY_ARM].mean
        return self._certain(f"reward a list is {canary:.4f}, {stable:.4f} beside it", p)

    def _certain(self, told: str, p: float) -> str:
        return f"{told} (always-valid p {p:.2g}, below {self._level:g})" if p < self._level else ""
