"""One app watched for four weeks, with dirty hours planted into copies of it: what was caught, and false alarms."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from features.quality.config import QualityConfig
from features.quality.profile import HELD, UNJUDGED
from features.quality.watch import Watch
from features.quality.window_counts import WindowInput
from tests.features.quality.dirty_hours import KINDS, spoiled
from tests.features.quality.quality_world import START_MS, QualityWorld, shipped_app

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


@dataclass
class DirtyHour:
    """What became of one planted hour."""

    windows: int = 0
    held: int = 0
    """Windows of it that are held one hour after its end."""
    delay: int = 0
    """Windows before the first held one."""
    rules: set[str] = field(default_factory=set)

    @property
    def is_caught(self) -> bool:
        """Whether at least half of it does not teach."""
        return 2 * self.held >= self.windows


@dataclass
class Alarm:
    """A run of held windows where nothing was wrong."""

    start_ms: int
    end_ms: int
    windows: int = 1
    rules: set[str] = field(default_factory=set)


@dataclass
class Trial:
    """All that one app told."""

    seed: int
    events_per_s: float
    windows: int = 0
    judged: int = 0
    alarms: list[Alarm] = field(default_factory=list)
    dirty: dict[str, DirtyHour] = field(default_factory=dict)


def run_trial(
    seed: int,
    config: QualityConfig,
    kinds: tuple[str, ...] = tuple(KINDS),
    days: int = 28,
    events_per_s: float | None = None,
) -> Trial:
    """Watch one app; every kind is planted at a time of its own, from the eighth day on (or the last half)."""
    world = QualityWorld(seed, events_per_s, days)
    random = np.random.default_rng([seed, 99])
    first_hour = 24 * min(7, days // 2)
    hours = random.choice(np.arange(first_hour, 24 * days - 3), size=len(kinds), replace=False)
    starts = {START_MS + int(hour) * _HOUR_MS: kind for hour, kind in zip(hours, kinds, strict=True)}
    # Small memories: a copy is made for every dirty hour.
    watch = Watch(shipped_app(), config.model_copy(update={"event_memory_mb": 1, "id_memory_mb": 1}))
    trial = Trial(seed, world.traffic.events_per_s)
    ahead: deque[WindowInput] = deque()
    length = 2 * _HOUR_MS // (1000 * config.window_s)
    windows = world.windows(config.window_s)
    for window in windows:
        ahead.append(window)
        if len(ahead) > length:
            _watch_next(watch, ahead, trial, starts, seed)
    while ahead:
        _watch_next(watch, ahead, trial, starts, seed)
    return trial


def _watch_next(watch: Watch, ahead: deque[WindowInput], trial: Trial, starts: dict[int, str], seed: int) -> None:
    """Close the oldest window; where a dirty hour begins, let a copy live through it first."""
    kind = starts.get(ahead[0].start_ms)
    if kind is not None:
        trial.dirty[kind] = _live_through(copy.deepcopy(watch), list(ahead), kind, seed)
    window = ahead.popleft()
    profile = watch.close(window)
    watch.judge_again(window.end_ms)
    trial.windows += 1
    trial.judged += profile.state != UNJUDGED
    if profile.state == HELD:
        rules = {reason.metric for reason in profile.reasons}
        if trial.alarms and window.start_ms - trial.alarms[-1].end_ms <= _HOUR_MS // 6:
            alarm = trial.alarms[-1]
            alarm.windows, alarm.end_ms, alarm.rules = alarm.windows + 1, window.end_ms, alarm.rules | rules
        else:
            trial.alarms.append(Alarm(window.start_ms, window.end_ms, rules=rules))


def _live_through(watch: Watch, windows: list[WindowInput], kind: str, seed: int) -> DirtyHour:
    """Spoil the first hour of two, and look at the end what is held of it."""
    random = np.random.default_rng([seed, *kind.encode()])
    spoil = KINDS[kind](random)
    hour = DirtyHour()
    end_ms = windows[0].start_ms + _HOUR_MS
    was_held = []
    for window in windows:
        is_dirty = window.start_ms < end_ms
        profile = watch.close(spoiled(window, spoil, random) if is_dirty else window)
        watch.judge_again(window.end_ms)
        if is_dirty:
            was_held.append(profile.state == HELD)
            hour.rules |= {reason.rule for reason in profile.reasons}
    hour.windows = len(was_held)
    hour.held = sum(windows[place].start_ms in watch.held for place in range(len(was_held)))
    hour.delay = was_held.index(True) if any(was_held) else len(was_held)
    return hour
