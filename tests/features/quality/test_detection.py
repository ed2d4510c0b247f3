"""The rules: significant and large, against every reference; the statistics behind them against plain numpy."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from features.config import AppConfig
from features.quality.config import SHIPPED_RULES, QualityConfig
from features.quality.detection import Detector, column_medians, divergence_bits
from features.quality.history import History
from features.quality.metrics import MetricTable, metrics_of, stabilised
from features.quality.profile import CLEAN, HELD, UNJUDGED, Profile

WINDOW_MS = 60_000
MEMORY = {"events": 10_000, "users": 10_000, "items": 10_000}


def profile_of(number: int, size: int = 400, **changes: Any) -> Profile:
    """Return the profile of a quiet window: a fifth of the events are positive, users and items are known."""
    random = np.random.default_rng(number)
    clicks = int(random.binomial(size, 0.2))
    fields: dict[str, Any] = {
        "window_start_ms": number * WINDOW_MS,
        "window_end_ms": (number + 1) * WINDOW_MS,
        "records": size,
        "events": size,
        "actions": {"view": size - clicks, "click": clicks},
        "positives": clicks,
        "duplicates": int(random.binomial(size, 0.005)),
        "users": size // 4,
        "items": size // 3,
        "new_users": int(random.binomial(size // 4, 0.05)),
        "top_user_events": 12,
        "top_users_events": 80,
        "top_item_events": 20,
        "item_buckets": random.multinomial(size, np.full(64, 1 / 64)).tolist(),
        "memory_s": MEMORY,
    }
    return Profile(**{**fields, **changes})


class Bench:
    """A detector with a past of quiet windows."""

    def __init__(self, app: AppConfig, config: QualityConfig, windows: int = 60, size: int = 400) -> None:
        names = list(app.actions)
        table = MetricTable(names)
        self.history = History(config, table, names)
        self.detector = Detector(config, table, names)
        for number in range(windows):
            self.history.add(profile_of(number, size), is_accepted=True)

    def judge(self, profile: Profile) -> Profile:
        """Judge against the trailing reference."""
        return self.detector.judge(profile, [self.history.trailing(), self.history.seasonal(profile.window_start_ms)])


@pytest.fixture
def bench(app: AppConfig, config: QualityConfig) -> Bench:
    """An hour of quiet windows."""
    return Bench(app, config)


def test_quiet_window_is_clean(bench: Bench) -> None:
    """One more window like the others has no reasons."""
    assert bench.judge(profile_of(60)).state == CLEAN


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"duplicates": 150}, "duplicates"),
        ({"unusable": {"not_json": 100}, "records": 500}, "unusable"),
        ({"dead_letters": {"unknown_request": 120}}, "dead_letters"),
        ({"positives": 0}, "label_rate"),
        ({"positives": 350}, "label_rate"),
        ({"actions": {"view": 400, "click": 0}}, "action_share"),
        ({"actions": {"view": 60, "click": 340}}, "action_mix"),
        ({"top_user_events": 120}, "top_user"),
        ({"top_users_events": 320}, "top_users"),
        ({"top_item_events": 250}, "top_item"),
        ({"new_users": 60}, "new_users"),
        ({"new_items": 90}, "new_items"),
        ({"requests": 300}, "requests"),
        ({"late": 200}, "late"),
        ({"ahead": 200}, "ahead"),
        ({"records": 4000, "events": 400}, "rate"),
        ({"item_buckets": [400] + 63 * [0]}, "item_distance"),
    ],
)
def test_each_rule_holds_its_window(bench: Bench, changes: dict[str, Any], rule: str) -> None:
    """The figure alone, far off, is reason enough and is named."""
    judged = bench.judge(profile_of(60, **changes))
    assert judged.state == HELD
    assert rule in {reason.rule for reason in judged.reasons}


def test_every_rule_belongs_to_a_metric(app: AppConfig) -> None:
    """No shipped rule is without effect, no metric without a rule."""
    assert {metric.rule for metric in metrics_of(list(app.actions))} == set(SHIPPED_RULES)


def test_significant_but_small_is_clean(app: AppConfig, config: QualityConfig) -> None:
    """With very dense windows a label rate of 24 % instead of 20 % is significant and no reason."""
    dense = Bench(app, config, size=200_000)
    judged = dense.judge(profile_of(60, 200_000, positives=48_000))
    assert judged.state == CLEAN


def test_large_but_not_significant_is_clean(app: AppConfig, config: QualityConfig) -> None:
    """With forty-five events a label rate of 40 % instead of 20 % can be chance."""
    sparse = Bench(app, config, size=45)
    judged = sparse.judge(profile_of(60, 45, positives=18))
    assert judged.state == CLEAN


def test_who_is_left_in_an_outage_is_no_bot(bench: Bench) -> None:
    """A large share of few events is suspicious only where it is more events than the top user has anyway."""
    assert bench.judge(profile_of(60, 60, top_user_events=15)).state == CLEAN
    assert bench.judge(profile_of(60, 60, top_user_events=30)).state == HELD


def test_too_little_is_not_judged(bench: Bench, app: AppConfig, config: QualityConfig) -> None:
    """Few events, or a short past, make no verdict."""
    assert bench.judge(profile_of(60, 39, positives=39)).state == UNJUDGED
    assert Bench(app, config, windows=29).judge(profile_of(60, positives=400)).state == UNJUDGED


def test_fine_against_one_reference_is_clean(bench: Bench) -> None:
    """What is unlike the last hour but like this hour on other days teaches."""
    odd = [profile_of(number, positives=360) for number in range(60)]
    other = History(QualityConfig(), bench.detector._table, bench.detector._actions)
    for profile in odd:
        other.add(profile, is_accepted=True)
    suspicious = profile_of(60, positives=360)
    assert bench.detector.judge(suspicious, [bench.history.trailing()]).state == HELD
    assert bench.detector.judge(suspicious, [bench.history.trailing(), other.trailing()]).state == CLEAN


def test_short_memory_finds_nobody_new(bench: Bench) -> None:
    """After a lost id memory everybody looks new: novelty is not judged until the memory is long again."""
    everybody_new = profile_of(60, new_users=100, new_items=133)
    forgetful = msgspec.structs.replace(everybody_new, memory_s={"events": 60, "users": 60, "items": 60})
    assert bench.judge(everybody_new).state == HELD
    assert bench.judge(forgetful).state == CLEAN


def test_rule_can_be_switched_off_and_moved(app: AppConfig) -> None:
    """`quality.rules` changes what it names and leaves the rest as shipped."""
    rules = {"duplicates": {"is_enabled": False}, "late": {"min_change": 0.9}}
    config = QualityConfig.model_validate({"rules": rules})
    bench = Bench(app, config)
    assert bench.judge(profile_of(60, duplicates=300, late=200)).state == CLEAN
    assert config.rule("late").z == SHIPPED_RULES["late"].z
    with pytest.raises(ValueError, match="did you mean 'duplicates'"):
        QualityConfig.model_validate({"rules": {"duplicate": {}}})


def test_held_windows_are_no_reference(bench: Bench) -> None:
    """What is not accepted does not move what is usual; released, it does."""
    for number in range(60, 120):
        bench.history.add(profile_of(number, positives=360), is_accepted=False)
    odd = profile_of(120, positives=360)
    assert bench.judge(odd).state == HELD
    for number in range(60, 120):
        bench.history.set_accepted(number * WINDOW_MS, True)
    assert bench.judge(odd).state == CLEAN


def test_seasonal_reference_is_the_same_time_of_earlier_days(app: AppConfig, config: QualityConfig) -> None:
    """Windows of noon on earlier days are found at noon, those of midnight are not."""
    bench = Bench(app, config, windows=0)
    day = 1440
    for days in range(3):
        for minute in (*range(60), *range(700, 761)):
            bench.history.add(profile_of(days * day + minute), is_accepted=True)
    assert len(bench.history.seasonal((3 * day + 730) * WINDOW_MS)) == 45
    assert len(bench.history.seasonal((3 * day + 400) * WINDOW_MS)) == 0


def test_stabilised_shares_have_variance_one_over_n() -> None:
    """Whatever the share, the variance is near 1/n: one threshold fits all."""
    random = np.random.default_rng(1)
    for share in (0.05, 0.3, 0.9):
        drawn = stabilised(random.binomial(500, share, 20_000) / 500)
        assert drawn.var() * 500 == pytest.approx(1.0, rel=0.1)


def test_column_medians_are_those_of_numpy() -> None:
    """Odd and even counts, with NaN left out."""
    random = np.random.default_rng(2)
    for rows in (7, 8):
        values = random.normal(size=(rows, 30))
        values[random.random(values.shape) < 0.3] = np.nan
        values[0] = 0.5
        assert np.allclose(column_medians(values), np.nanmedian(values, axis=0))


def test_divergence_of_a_fair_sample_is_near_zero() -> None:
    """Sampling alone makes no distance, however small the sample; other mixes make up to one bit."""
    random = np.random.default_rng(3)
    mix = random.dirichlet(np.ones(20))
    drawn = [divergence_bits(random.multinomial(60, mix).astype(float), 1e6 * mix) for _ in range(200)]
    assert np.mean(drawn) < 0.02
    assert divergence_bits(np.array([1e5, 0.0]), np.array([0.0, 1e5])) == pytest.approx(1.0, abs=0.01)
    assert divergence_bits(np.zeros(2), np.ones(2)) == 0.0
