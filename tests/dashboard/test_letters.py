"""Bad messages are shown as text, with what they mean and how they are mended."""

from __future__ import annotations

import json

import pytest

from compose.dashboard.letters import Letters, mend_of
from compose.dlq_letters import REASONS
from features.config import load_app_config
from tests.compose.dead_letters import NOW_MS, letter, letter_json
from tests.running_stack import ROOT


@pytest.fixture
def letters() -> Letters:
    """No letter yet."""
    return Letters(load_app_config(ROOT / "headrace.yaml"))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_meaning_and_a_mend(reason: str) -> None:
    """Nobody is left with a code."""
    meaning, mend = mend_of(reason)
    assert meaning.endswith(".")
    assert "every reason" not in mend


def test_a_letter_is_kept_once_and_shown_newest_first(letters: Letters) -> None:
    """The job may write one twice when it restarts."""
    for offset in (1, 2, 2):
        letters.on_record(letter_json(letter(offset=offset)))
    view = letters.view(NOW_MS)
    assert [one["letter"].rpartition(":")[2] for one in view["letters"]] == ["2", "1"]
    assert [(one["reason"], one["count"]) for one in view["reasons"]] == [("unknown_action", 2)]


def test_any_bytes_become_text(letters: Letters) -> None:
    """What is no UTF-8, and what a terminal would obey, is written out."""
    letters.on_record(letter_json(letter(b"\xff\x1b[31m<b>", reason="not_json")))
    assert letters.view(NOW_MS)["letters"][0]["text"] == r"\xff\x1b[31m<b>"


def test_a_long_message_is_cut_and_said_to_be(letters: Letters) -> None:
    """The page stays light."""
    letters.on_record(letter_json(letter(b"x" * 60_000, reason="not_json")))
    told = letters.view(NOW_MS)["letters"][0]
    assert (len(told["text"]), told["is_cut"], told["bytes"]) == (2000, True, 60_000)


def test_a_letter_says_whether_it_would_be_taken_as_it_is(letters: Letters) -> None:
    """A declared action would be, an unknown one comes back."""
    letters.on_record(letter_json(letter(offset=1)))
    letters.on_record(letter_json(letter(offset=2, action="lke")))
    newest, oldest = letters.view(NOW_MS)["letters"]
    assert (oldest["why_not"], "come back" in newest["why_not"]) == ("", True)


def test_what_letters_say_alike_names_the_producer(letters: Letters) -> None:
    """The release that sends a misspelt action, whatever users it came from; what only one says is left out."""
    for offset in range(4):
        event = {"user_id": f"u{offset}", "action": "purchas", "context": {"release": "7.2", "page": f"p{offset}"}}
        letters.on_record(letter_json(letter(json.dumps(event).encode(), offset=offset)))
    letters.on_record(letter_json(letter(b'{"context": "no map"}', offset=5)))
    [told] = letters.view(NOW_MS)["reasons"]
    assert [(one["field"], one["value"], one["count"]) for one in told["shared"]] == [
        ("topic", "headrace.events.v1", 5),
        ("action", "purchas", 4),
        ("context.release", "7.2", 4),
    ]


def test_a_reason_in_hundreds_hides_no_other(letters: Letters) -> None:
    """Three of each, unless one is chosen."""
    for offset in range(20):
        letters.on_record(letter_json(letter(b"{", reason="not_json" if offset == 0 else "too_deep", offset=offset)))
    reasons = [one["reason"] for one in letters.view(NOW_MS)["letters"]]
    assert reasons == ["too_deep"] * 3 + ["not_json"]
    assert len(letters.view(NOW_MS, "too_deep")["letters"]) == 19


def test_one_reason_can_be_looked_at_alone(letters: Letters) -> None:
    """The counts stay those of all."""
    letters.on_record(letter_json(letter(offset=1)))
    letters.on_record(letter_json(letter(b"{", offset=2, reason="not_json")))
    view = letters.view(NOW_MS, "not_json")
    assert ([one["reason"] for one in view["letters"]], len(view["reasons"])) == (["not_json"], 2)
