"""The watch over windows, free of Kafka: count, judge, remember; judge held windows again as the reference grows.

Everything here is a function of the windows and decisions it was given, in that order. `look` may be called at any time
and changes nothing.
"""

from __future__ import annotations

import msgspec

from features.config import AppConfig
from features.quality.config import QualityConfig
from features.quality.detection import Detector
from features.quality.history import History
from features.quality.metrics import MetricTable
from features.quality.pooled_windows import MAX_WINDOWS, pooled, windows_to_pool
from features.quality.profile import CLEAN, DROPPED, HELD, RELEASED, UNJUDGED, Profile, Reason
from features.quality.window_counts import IdMemory, WindowInput, count_window

_JUDGED_AGAIN_AT_MOST = 500
"""Held windows judged again at once, the newest: a second of work."""


class Watch:
    """Profiles and verdicts of one stream of windows.

    Args:
        app: declared actions.
        config: window length, references, rules.
    """

    def __init__(self, app: AppConfig, config: QualityConfig) -> None:
        self._app = app
        self._config = config
        table = MetricTable(list(app.actions))
        self._detector = Detector(config, table, list(app.actions))
        self.history = History(config, table, list(app.actions))
        self.memory = IdMemory(config, app.features.horizon_h)
        self.held: dict[int, Profile] = {}
        """Held windows that nobody decided on yet, by start."""
        self._recent: dict[int, Profile] = {}
        """The newest closed windows, by start."""
        self._decided: dict[int, str] = {}
        self._has_new_reference = False

    def look(self, window: WindowInput) -> Profile:
        """Judge a window that is still open.

        One that follows a held window is held until it has enough events to say otherwise: an incident is not over
        because a minute is.
        """
        profile = self._judged(count_window(window, self._app, self.memory).profile)
        is_after_held = profile.window_start_ms - profile.window_ms in self.held
        if not is_after_held or (profile.state != UNJUDGED and profile.records >= self._config.min_events):
            return profile
        carried = [Reason("carried", "carried", 1.0, 0.0, 0.0, "the window before is held")]
        return msgspec.structs.replace(profile, state=HELD, reasons=carried)

    def close(self, window: WindowInput) -> Profile:
        """Judge a closed window for good and let it be part of the past."""
        counted = count_window(window, self._app, self.memory)
        profile = msgspec.structs.replace(self._judged(counted.profile), is_final=True)
        self.memory.add(counted)
        return self.remember(profile)

    def relearn_ids(self, window: WindowInput) -> None:
        """Let a window whose profile is known be part of the id memory again."""
        self.memory.add(count_window(window, self._app, self.memory))

    def remember(self, profile: Profile) -> Profile:
        """Take a final profile into the history, with what ops decided about it."""
        decision = self._decided.get(profile.window_start_ms)
        if decision is not None and profile.state == HELD:
            profile = msgspec.structs.replace(profile, state=decision)
        self.history.add(profile, is_accepted=profile.state not in (HELD, DROPPED))
        self._recent[profile.window_start_ms] = profile
        if len(self._recent) > MAX_WINDOWS:
            del self._recent[min(self._recent)]
        self.held.pop(profile.window_start_ms, None)
        if profile.state == HELD:
            self.held[profile.window_start_ms] = profile
        return profile

    def decide(self, window_start_ms: int, decision: str) -> Profile | None:
        """Carry out what ops decided, `RELEASED` or `DROPPED`; return the profile that it changes."""
        if self._decided.get(window_start_ms) == DROPPED:  # What was dropped is forgotten.
            return None
        self._decided[window_start_ms] = decision
        held = self.held.get(window_start_ms)
        if held is None:
            return None
        self._has_new_reference |= decision == RELEASED
        return self.remember(held)

    def judge_again(self, now_ms: int) -> list[Profile]:
        """Judge held windows again where ops let others go since: what looks like those is let go too.

        Also ends the holds that are older than `quality.release_after_h`, where that is set. Returns what changed.
        """
        freed = self._release_old(now_ms)
        if not self._has_new_reference:
            return freed
        self._has_new_reference = False
        for profile in sorted(self.held.values(), key=lambda p: -p.window_start_ms)[:_JUDGED_AGAIN_AT_MOST]:
            judged = self._judged(profile)
            if judged.state == CLEAN:
                freed.append(self.remember(judged))
        return freed

    def _release_old(self, now_ms: int) -> list[Profile]:
        """Let go of what was held for longer than `quality.release_after_h`, where that is set."""
        if self._config.release_after_h is None:
            return []
        limit_ms = now_ms - int(self._config.release_after_h * 3_600_000)
        old = [profile for profile in self.held.values() if profile.window_end_ms <= limit_ms]
        return [self.remember(msgspec.structs.replace(profile, state=RELEASED)) for profile in old]

    def _judged(self, profile: Profile) -> Profile:
        """Judge a window by itself and, where it has few events, with those before it."""
        references = [self.history.trailing(), self.history.seasonal(profile.window_start_ms)]
        judged = self._detector.judge(profile, references)
        windows = windows_to_pool(judged, self._closed_window, self._config.enough_events)
        if judged.state == HELD or len(windows) == 1:
            return judged
        together = self._detector.judge(pooled(windows), references)
        reasons = [reason for reason in together.reasons if self._detector.shares(judged, reason)]
        if not reasons:
            return judged
        told = [msgspec.structs.replace(r, text=f"{r.text}, over {len(windows)} windows") for r in reasons]
        return msgspec.structs.replace(judged, state=HELD, reasons=told)

    def _closed_window(self, start_ms: int) -> Profile | None:
        return self._recent.get(start_ms) or self.held.get(start_ms)
