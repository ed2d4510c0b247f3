"""The watch: the same windows give the same profiles, holds end by decision or a grown reference, never in silence."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from features.config import AppConfig
from features.quality.config import QualityConfig
from features.quality.metrics import MetricTable
from features.quality.pooled_windows import MAX_WINDOWS, pooled, windows_to_pool
from features.quality.profile import CLEAN, DROPPED, HELD, RELEASED, UNJUDGED, Profile, encode_profile
from features.quality.watch import Watch
from features.quality.window_counts import WindowInput
from tests.features.quality.dirty_hours import KINDS, spoiled
from tests.features.quality.quality_world import QualityWorld, sliced
from tests.features.quality.trial import run_trial

PAST = 100


@pytest.fixture(scope="module")
def windows() -> list[WindowInput]:
    """The first hours of a world at six events a second."""
    return list(itertools.islice(QualityWorld(3, events_per_s=6.0, days=3).windows(), PAST + 80))


def flooded(window: WindowInput, kind: str = "label flood") -> WindowInput:
    """Spoil a window."""
    random = np.random.default_rng(5)
    return spoiled(window, KINDS[kind](random), random)


def watched(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> tuple[Watch, list[Profile]]:
    """Close windows in order."""
    watch = Watch(app, config)
    return watch, [watch.close(window) for window in windows]


def test_replay_gives_the_same_bytes(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """A profile is a function of the log: two watches write the same bytes."""
    first = [encode_profile(p) for p in watched(app, config, windows[:50])[1]]
    assert first == [encode_profile(p) for p in watched(app, config, windows[:50])[1]]


def test_order_of_arrival_changes_no_count(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """Partitions may be read in any order."""
    window = windows[60]
    turned = WindowInput(
        window.start_ms,
        window.end_ms,
        sliced(window.columns, np.random.default_rng(1).permutation(len(window.columns.events))),
        dead_letters=window.dead_letters,
    )
    watch, _ = watched(app, config, windows[:60])
    assert encode_profile(watch.look(window)) == encode_profile(watch.look(turned))


def test_looking_changes_nothing(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """A window that was judged while open has the same profile when it closes."""
    first, _ = watched(app, config, windows[:40])
    second, _ = watched(app, config, windows[:40])
    first.look(windows[40])
    assert first.close(windows[40]) == second.close(windows[40])


def test_duplicates_are_found_across_windows(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """The events of a window sent again in a later one are duplicates, all of them."""
    watch, _ = watched(app, config, windows[:40])
    again = WindowInput(windows[40].start_ms, windows[40].end_ms, windows[10].columns)
    assert watch.look(again).duplicates == len(windows[10].columns.events)


def test_window_after_a_held_one_is_held_until_it_can_be_judged(
    app: AppConfig, config: QualityConfig, windows: list[WindowInput]
) -> None:
    """The next window opens held, and is let go once enough of its events are fine."""
    watch, _ = watched(app, config, windows[:PAST])
    assert watch.close(flooded(windows[PAST])).state == HELD
    after = windows[PAST + 1]
    few = WindowInput(after.start_ms, after.end_ms, sliced(after.columns, slice(0, 5)))
    assert (watch.look(few).state, watch.look(few).reasons[0].rule) == (HELD, "carried")
    assert watch.look(after).state == CLEAN
    assert watch.close(few).state == UNJUDGED


def test_release_takes_the_window_into_the_reference(
    app: AppConfig, config: QualityConfig, windows: list[WindowInput]
) -> None:
    """A new normal: once ops release half of an hour, what looks like it clears by itself."""
    watch, _ = watched(app, config, windows[:PAST])
    held = [watch.close(flooded(window)) for window in windows[PAST : PAST + 60]]
    assert {profile.state for profile in held} == {HELD}
    assert watch.judge_again(held[-1].window_end_ms) == []
    for profile in held[:40]:
        decided = watch.decide(profile.window_start_ms, RELEASED)
        assert decided is not None
        assert decided.state == RELEASED
    freed = watch.judge_again(held[-1].window_end_ms)
    assert {profile.state for profile in freed} == {CLEAN}
    assert len(freed) == 20
    assert not watch.held


def test_dropped_window_stays_dropped(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """A release after a drop changes nothing, and the window never becomes a reference."""
    watch, _ = watched(app, config, windows[:PAST])
    start_ms = watch.close(flooded(windows[PAST])).window_start_ms
    dropped = watch.decide(start_ms, DROPPED)
    assert dropped is not None
    assert dropped.state == DROPPED
    assert watch.decide(start_ms, RELEASED) is None
    assert not watch.held


def test_hold_never_ends_by_time_unless_told(app: AppConfig, config: QualityConfig, windows: list[WindowInput]) -> None:
    """Without `release_after_h` a hold outlives a week; with it, it ends then and not before."""
    patient, _ = watched(app, config, windows[:PAST])
    hasty, _ = watched(app, config.model_copy(update={"release_after_h": 2.0}), windows[:PAST])
    end_ms = patient.close(flooded(windows[PAST])).window_end_ms
    hasty.close(flooded(windows[PAST]))
    assert patient.judge_again(end_ms + 7 * 86_400_000) == []
    assert hasty.judge_again(end_ms + 7_199_000) == []
    assert [profile.state for profile in hasty.judge_again(end_ms + 7_200_000)] == [RELEASED]


def test_remembered_profiles_judge_like_watched_windows(
    app: AppConfig, config: QualityConfig, windows: list[WindowInput]
) -> None:
    """A watch restored from its profiles and ids gives the next profile byte by byte."""
    first, profiles = watched(app, config, windows[:PAST])
    second = Watch(app, config)
    for profile in profiles:
        second.remember(profile)
    for window in windows[:PAST]:
        second.relearn_ids(window)
    assert encode_profile(second.close(windows[PAST])) == encode_profile(first.close(windows[PAST]))


def test_dirty_hours_are_caught_and_clean_days_are_quiet(config: QualityConfig) -> None:
    """The bench in small: three days of one app, one hour of every kind, all caught and not one false alarm."""
    trial = run_trial(4, config.model_copy(update={"window_s": 300}), days=4, events_per_s=5.0)
    assert {kind for kind, hour in trial.dirty.items() if not hour.is_caught} == set()
    assert trial.alarms == []
    assert trial.judged > 0.9 * trial.windows


@pytest.fixture(scope="module")
def quiet_windows() -> list[WindowInput]:
    """The first hours of a world where hardly a minute has events enough to be judged by itself."""
    return list(itertools.islice(QualityWorld(3, events_per_s=0.6, days=3).windows(), PAST + 80))


def test_minutes_that_say_little_are_judged_together(
    app: AppConfig, config: QualityConfig, quiet_windows: list[WindowInput]
) -> None:
    """An incident in a quiet hour is held once it fills the windows that are looked at together, and no longer."""
    for enough_events, least, most in ((0, 0, 10), (config.enough_events, 30, 40)):
        watch, _ = watched(app, config.model_copy(update={"enough_events": enough_events}), quiet_windows[:PAST])
        dirty = [watch.close(flooded(window)) for window in quiet_windows[PAST : PAST + 40]]
        assert least <= sum(profile.state == HELD for profile in dirty) <= most
        after = [watch.close(window) for window in quiet_windows[PAST + 40 :]]
        assert sum(profile.state == HELD for profile in after) <= 2


def test_what_ops_settled_is_no_evidence_for_what_follows(
    app: AppConfig, config: QualityConfig, quiet_windows: list[WindowInput]
) -> None:
    """Windows before a released one are not looked at again."""
    _, profiles = watched(app, config, quiet_windows[:PAST])
    by_start = {profile.window_start_ms: profile for profile in profiles}
    assert len(windows_to_pool(profiles[-1], by_start.get, 10**9)) == MAX_WINDOWS
    third = profiles[-3]
    by_start[third.window_start_ms] = msgspec.structs.replace(third, state=RELEASED)
    assert windows_to_pool(profiles[-1], by_start.get, 10**9) == profiles[-2:]
    assert windows_to_pool(profiles[-1], by_start.get, 0) == profiles[-1:]


def test_windows_together_count_what_they_count_apart(
    app: AppConfig, config: QualityConfig, quiet_windows: list[WindowInput]
) -> None:
    """A share has the sums of the windows, but for the most active, and values are in the same bins."""
    _, profiles = watched(app, config, quiet_windows[:9])
    table = MetricTable(list(app.actions))
    together = pooled(profiles)
    values, weights = table.row(together)
    apart = np.sum([table.row(profile) for profile in profiles], axis=0)
    is_sum = table.is_share & ~np.isin(np.arange(len(values)), table.top_columns)
    np.testing.assert_array_equal(np.array([values, weights])[:, is_sum], apart[:, is_sum])
    assert not values[table.top_columns].any()
    assert sum(together.item_buckets) == sum(profile.events for profile in profiles) == together.events
    counts = {action: sum(told.bins.values()) for action, told in together.values.items()}
    assert counts == {action: told.count for action, told in together.values.items()} == together.valued
