"""The SQL that checks events."""

from __future__ import annotations

import re

from features.config import ActionConfig, AppConfig
from streams.events import event_views, is_id, outcome_case
from streams.sql_text import literal

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


def test_ids_are_measured_in_bytes() -> None:
    """HEX counts two characters a byte."""
    assert "CHAR_LENGTH(HEX(`x`)) <= 256" in is_id("`x`")
