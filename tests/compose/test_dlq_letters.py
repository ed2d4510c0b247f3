"""Dead letters are read as the job writes them, and chosen by reason, age and place."""

from __future__ import annotations

import re

import pytest

from compose.dlq_letters import (
    REASONS,
    DlqUsageError,
    Selection,
    check_letter_id,
    decode_letter,
    doubt_about,
    parse_since,
)
from tests.compose.dead_letters import HOUR_MS, NOW_MS, letter, letter_json
from tests.running_stack import ROOT
from tests.streams.test_feature_job import GARBAGE


def test_a_letter_is_read_as_it_was_written() -> None:
    """Any bytes come back."""
    one = letter(b"\xff\x00{")
    assert decode_letter(letter_json(one)) == one
    assert one.letter_id == "headrace.events.v1:2:7"


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", letter_json(letter()).replace(b'"raw": "', b'"raw": "*')])
def test_what_is_no_letter_is_passed_over(value: bytes | None) -> None:
    """A stranger's record in the topic ends no command."""
    assert decode_letter(value) is None


def test_a_selection_narrows_by_everything_given() -> None:
    """Nothing given means all."""
    one = letter()
    assert Selection().wants(one)
    assert Selection({"unknown_action"}, NOW_MS, {one.letter_id}).wants(one)
    assert not Selection({"too_old"}).wants(one)
    assert not Selection(since_ms=NOW_MS + 1).wants(one)
    assert not Selection(letter_ids={"headrace.events.v1:2:8"}).wants(one)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("90m", NOW_MS - 90 * 60_000),
        ("2 h", NOW_MS - 2 * HOUR_MS),
        ("7d", NOW_MS - 7 * 24 * HOUR_MS),
        ("999999999d", 0),
        ("1969-01-01", 0),
        ("2024-01-31T11:20:00", 1_706_700_000_000),
        ("2024-01-31T12:20:00+01:00", 1_706_700_000_000),
    ],
)
def test_since_is_an_age_or_a_time(text: str, expected: int | None) -> None:
    """A time without a zone is UTC; one before 1970, which Kafka does not know, is 1970."""
    assert parse_since(text, NOW_MS) == expected


def test_since_that_is_neither_is_one_sentence() -> None:
    """With both forms."""
    with pytest.raises(DlqUsageError, match=r"an age like 90m, 6h or 7d, or an ISO time, not 'yesterday'"):
        parse_since("yesterday")


def test_a_letter_is_named_by_its_place() -> None:
    """A slip of the pen must not read as "there is no such letter"."""
    assert check_letter_id("headrace.events.v1:2:7") == "headrace.events.v1:2:7"
    for text in ("headrace.events.v1:2", "2:7", "a:b:c", ""):
        with pytest.raises(DlqUsageError, match="--letter must be TOPIC:PARTITION:OFFSET"):
            check_letter_id(text)


def test_a_misspelt_reason_is_no_good_news() -> None:
    """It would find no letter; the nearest one is named."""
    assert "no job writes 'unknown_acton' (did you mean 'unknown_action'?)" in doubt_about("unknown_acton")
    assert [doubt_about(reason) for reason in REASONS if doubt_about(reason)] == []


def test_every_reason_of_the_jobs_is_known() -> None:
    """Those that the feature job gives to garbage, and those that its SQL and the guide name."""
    guide = (ROOT / "docs" / "events.md").read_text(encoding="utf-8").split("## What cannot be used")[1]
    told = re.findall(r"^\| `([a-z_]+)` \|", guide.split("\n## ")[0], flags=re.MULTILINE)
    assert {*told, *(reason for _, reason in GARBAGE)} <= set(REASONS)
    assert {reason for reason in REASONS if not reason.startswith(("missing_", "bad_"))} <= set(told)
