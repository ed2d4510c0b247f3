"""What `STATE/quality.json` says."""

from __future__ import annotations

import json
from pathlib import Path

from features.quality.profile import Profile
from features.quality.quality_stats import QualityStats

HOUR_MS = 3_600_000


def _window(start_ms: int, **dead_letters: int) -> Profile:
    return Profile(window_start_ms=start_ms, window_end_ms=start_ms + 60_000, dead_letters=dead_letters)


def test_letters_of_a_day_survive_a_restart_and_end_with_it(tmp_path: Path) -> None:
    """Windows that Kafka still knows count as those that were closed since."""
    now_ms = [100 * HOUR_MS]
    stats = QualityStats(tmp_path / "quality.json", lambda: now_ms[0])
    stats.recall(_window(70 * HOUR_MS, too_old=100))
    stats.recall(_window(80 * HOUR_MS, too_old=4))
    stats.count_window(_window(99 * HOUR_MS, too_old=1, not_json=2))
    seen = []
    for _ in range(2):
        stats.report("watching", dict, lambda: 0)
        seen.append(json.loads((tmp_path / "quality.json").read_text())["dead_letters_of_a_day"])
        now_ms[0] += 10 * HOUR_MS
    assert seen == [{"too_old": 5, "not_json": 2}, {"not_json": 2, "too_old": 1}]
