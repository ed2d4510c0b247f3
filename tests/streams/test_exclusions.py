"""What the feature job leaves out: told by a file, in SQL, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import AppConfig, ConfigError, load_app_config, load_section
from streams.config import StreamsConfig
from streams.exclusions import (
    NOTHING_EXCLUDED,
    Exclusions,
    load_exclusions,
    save_exclusions,
    user_name,
)
from streams.job import SqlJob
from streams.jobs.feature_job import feature_job

_CONFIG = Path(__file__).parents[2] / "headrace.yaml"
_DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def app() -> AppConfig:
    """The shipped app."""
    return load_app_config(_CONFIG)


def _job(app: AppConfig, exclusions: Exclusions) -> SqlJob:
    return feature_job(app, load_section(_CONFIG, "streams", StreamsConfig), "kafka:1", exclusions=exclusions)


def test_nothing_excluded_changes_no_statement(app: AppConfig) -> None:
    """A stack that never purged runs the plan that it always ran."""
    assert _job(app, NOTHING_EXCLUDED).plan_name == feature_job(app, StreamsConfig(), "kafka:1").plan_name


def test_window_is_a_plan_of_its_own(app: AppConfig) -> None:
    """So `headrace streams upgrade`, a restart and `up` all know that the running job counted too much."""
    assert _job(app, Exclusions([(10, 20)])).plan_name != _job(app, NOTHING_EXCLUDED).plan_name


def test_events_of_windows_and_users_are_left_out_lists_of_users_too(app: AppConfig) -> None:
    """Exposure keeps what a purged window showed; of a forgotten user it keeps nothing."""
    views = {view.name: view.select for view in _job(app, Exclusions([(10, 20)], {user_name("ada"): 30})).views}
    assert "`record_time_ms` >= 10 AND `record_time_ms` < 20" in views["valid_events"]
    assert f"SHA256(`user_id`) = '{user_name('ada')}' AND `record_time_ms` <= 30" in views["valid_events"]
    assert "SHA256" in views["shown_lists"]
    assert "`record_time_ms` >= 10" not in views["shown_lists"]


@pytest.mark.parametrize("user_id", ["ada", "o'hara", "*", "../x", "a:b", "\u202eadA", "x" * 128])
def test_no_user_id_reaches_file_or_statement(app: AppConfig, tmp_path: Path, user_id: str) -> None:
    """Ids are hashed, so none can break out of a literal or be read by whoever sees the plan."""
    made = NOTHING_EXCLUDED.with_user(user_id, 30)
    save_exclusions(tmp_path, made)
    assert load_exclusions(tmp_path) == made
    assert list(made.users) == [user_name(user_id)]
    assert set(made.of_users("t")) <= set("()`= <>'_0123456789abcdefghijklmnopqrstuvwxyzADNOHSR256")


def test_what_no_topic_can_bring_back_is_let_go() -> None:
    """The list stays as short as the topics are."""
    made = NOTHING_EXCLUDED.with_window(1, 2).with_user("ada", 3)
    later = made.with_window(20 * _DAY_MS, 21 * _DAY_MS).with_user("bea", 22 * _DAY_MS)
    assert later == Exclusions([(20 * _DAY_MS, 21 * _DAY_MS)], {user_name("bea"): 22 * _DAY_MS})


def test_the_same_twice_is_once() -> None:
    """A killed command is run again."""
    once = NOTHING_EXCLUDED.with_window(1, 2).with_user("ada", 3)
    assert once.with_window(1, 2).with_user("ada", 3) == once


def test_damaged_file_stops_the_job(tmp_path: Path) -> None:
    """To go on without it would count again what was purged."""
    (tmp_path / "exclusions.json").write_text('{"windows": [[1')
    with pytest.raises(ConfigError, match=r"exclusions\.json"):
        load_exclusions(tmp_path)
