"""The SQL that checks events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from features.config import ActionConfig, AppConfig, ConfigError
from streams.events import event_views, is_id, outcome_case
from streams.sql_text import literal
from streams.token_check import TokenCheck, load_token_check

APP = AppConfig(
    actions={
        "view": ActionConfig(),
        "it's": ActionConfig(outcome="negative"),
        "rating": ActionConfig(positive_when="value >= 4", negative_when="value == 1.5"),
    }
)


def test_conditions_stand_before_the_plain_outcome() -> None:
    """The first branch that holds decides, as in `ActionConfig.outcome_of`."""
    rating = [line.strip() for line in outcome_case(APP).splitlines() if "'rating'" in line]
    assert rating == [
        "WHEN `action` = 'rating' AND `value` >= CAST(4.0 AS DOUBLE) THEN 1",
        "WHEN `action` = 'rating' AND `value` = CAST(1.5 AS DOUBLE) THEN -1",
        "WHEN `action` = 'rating' THEN 0",
    ]


def test_names_from_the_configuration_cannot_leave_their_literal() -> None:
    """A quote in an action's name is doubled."""
    assert literal("it's") == "'it''s'"
    assert "`action` = 'it''s' THEN -1" in outcome_case(APP)


def test_form_comes_before_meaning() -> None:
    """What the parser found goes first; unknown actions and old events are judged last."""
    checked = next(view for view in event_views(APP) if view.name == "checked_records")
    assert re.findall(r"THEN (`fault`|'\w+')", checked.select) == ["`fault`", "'unknown_action'", "'too_old'"]


def test_feedback_is_proven_last_and_only_where_tokens_are_on(tmp_path: Path) -> None:
    """Of live records with a request_id; without tokens the plan does not know the function."""
    tokens = TokenCheck(tmp_path / "it's.json", 3_600_000)
    plain, checked = (
        next(view for view in event_views(APP, tokens=one) if view.name == "checked_records").select
        for one in (None, tokens)
    )
    assert "TOKEN_HOLDS" not in plain
    assert re.findall(r"THEN ('\w+')", checked) == ["'unknown_action'", "'too_old'", "'bad_token'"]
    assert "`request_id` IS NOT NULL AND NOT TOKEN_HOLDS(" in checked
    assert "it''s.json' AS STRING), CAST(3600000 AS BIGINT))" in checked
    assert checked.count("<> 'headrace.events.backfill.v1'") == 2


def test_tokens_are_as_the_configuration_says(tmp_path: Path) -> None:
    """Off without a word of it; on, keys are made where there are none and unusable ones are told at once."""
    config = tmp_path / "headrace.yaml"
    config.write_text("actions: {click: {outcome: positive}}\n")
    assert (load_token_check(config, tmp_path), list(tmp_path.iterdir())) == (None, [config])
    config.write_text("request_tokens: {is_enabled: true, lives_h: 2}\n")
    keys = tmp_path / "request-keys.json"
    assert load_token_check(config, tmp_path) == TokenCheck(keys, 7_200_000)
    keys.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        load_token_check(config, tmp_path)


def test_ids_are_measured_in_bytes() -> None:
    """HEX counts two characters a byte."""
    assert "CHAR_LENGTH(HEX(`x`)) <= 256" in is_id("`x`")
