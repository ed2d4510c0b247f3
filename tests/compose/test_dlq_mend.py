"""A dead letter is sent again only where that can help, and never so that it counts twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compose.dlq_letters import DeadLetter, DlqUsageError
from compose.dlq_mend import Left, ReplayRules, Resend, parse_mend, prepare
from features.config import load_app_config
from headrace_client import EVENTS_TOPIC, HISTORY_TOPIC
from tests.compose.dead_letters import HOUR_MS, NOW_MS, letter, raw_event
from tests.compose.small_stack import ROOT

APP = load_app_config(ROOT / "headrace.yaml")


def rules(sets: list[str] | None = None, renames: list[str] | None = None, **options: Any) -> ReplayRules:
    """Rules for replaying now."""
    return ReplayRules(APP, NOW_MS, parse_mend(sets or [], renames or [], APP), **options)


def sent(one: DeadLetter, by: ReplayRules) -> tuple[Resend, dict[str, Any]]:
    """The record that goes out, and its JSON."""
    record = prepare(one, by)
    assert isinstance(record, Resend), record
    return record, json.loads(record.value)


def nested(levels: int) -> Any:
    """Lists within lists."""
    return [nested(levels - 1)] if levels else 1


def test_the_allowed_depth_is_allowed() -> None:
    """Sixteen levels, the event itself among them."""
    assert isinstance(prepare(letter(extra=nested(15)), rules()), Resend)


def test_a_record_that_is_good_by_now_goes_out_as_it_was() -> None:
    """Byte for byte, for example once its action is declared."""
    one = letter(raw_event().replace(b", ", b" ,  "))
    assert prepare(one, rules()) == Resend(EVENTS_TOPIC, b"ada", one.raw, "e1")


def test_a_renamed_action_leaves_the_rest_alone() -> None:
    """Other actions stay what they are."""
    _, event = sent(letter(action="clck", context={"a": "b"}), rules(renames=["clck=click", "x=view"]))
    assert event == json.loads(raw_event(action="click", context={"a": "b"}))


@pytest.mark.parametrize(
    ("broken", "mend", "field", "expected"),
    [
        ({"user_id": 5}, "user_id=5", "user_id", "5"),
        ({"value": "4.5"}, "value=4.5", "value", 4.5),
        ({"value": True}, "value=1", "value", 1),
        ({"event_time_ms": "x"}, f"event_time_ms={NOW_MS}", "event_time_ms", NOW_MS),
        ({"context": "x"}, "context.page=/a", "context", {"page": "/a"}),
        ({"item_id": None}, "item_id=cup", "item_id", "cup"),
    ],
)
def test_fields_are_set_with_their_type(broken: dict[str, Any], mend: str, field: str, expected: Any) -> None:
    """Ids are text even where they look like numbers."""
    assert isinstance(prepare(letter(**broken), rules()), Left)
    _, event = sent(letter(**broken), rules(sets=[mend]))
    assert (event[field], type(event[field])) == (expected, type(expected))


@pytest.mark.parametrize("event_id", [None, "", 5, "x" * 129])
def test_a_record_without_a_usable_id_gets_its_place_as_one(event_id: Any) -> None:
    """The same each time it is sent."""
    record, event = sent(letter(reason="missing_event_id", event_id=event_id), rules())
    assert record.event_id == event["event_id"] == "headrace.events.v1:2:7"


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (letter(action="wink"), "still unknown_action"),
        (letter(user_id="x" * 129), "still bad_user_id"),
        (letter(user_id="a\u0085"), "still bad_user_id"),
        (letter(item_id=None), "still missing_item_id"),
        (letter(event_time_ms=None), "still missing_event_time_ms"),
        (letter(event_time_ms=0), "still bad_event_time_ms"),
        (letter(event_time_ms=1.5), "still bad_event_time_ms"),
        (letter(value="much"), "still bad_value"),
        (letter(request_id=5), "still bad_request_id"),
        (letter(context=[]), "still bad_context"),
        (letter(extra=nested(16)), "still too_deep"),
        (letter(b"{", "not_json"), "not_json"),
        (letter(b"[" * 100_000, "too_deep"), "not_json"),
        (letter(event_time_ms=NOW_MS - 25 * HOUR_MS), "too_old"),
    ],
)
def test_what_would_come_back_stays_unless_forced(one: DeadLetter, code: str) -> None:
    """With the reason that the job would give."""
    left = prepare(one, rules())
    assert isinstance(left, Left)
    assert left.code == code
    assert isinstance(prepare(one, rules(is_forced=True)), Resend)


@pytest.mark.parametrize("reason", ["unknown_request", "after_horizon"])
def test_what_has_counted_is_sent_only_by_force(reason: str) -> None:
    """Features have used the event; once its id is forgotten it would count twice."""
    left = prepare(letter(reason=reason), rules())
    assert isinstance(left, Left)
    assert "--force" in left.why
    assert isinstance(prepare(letter(reason=reason), rules(is_forced=True)), Resend)


@pytest.mark.parametrize("one", [letter(reason="too_large"), letter(topic="headrace.control.v1")])
def test_no_force_sends_half_a_record_or_reaches_another_topic(one: DeadLetter) -> None:
    """The topic in a letter is a stranger's word too."""
    assert isinstance(prepare(one, rules(is_forced=True)), Left)


def test_old_events_go_out_as_history() -> None:
    """The backfill topic has no age limit; what came from there goes back there."""
    old_ms = NOW_MS - 1000 * HOUR_MS
    assert sent(letter(event_time_ms=old_ms), rules(as_history=True))[0].topic == HISTORY_TOPIC
    assert sent(letter(event_time_ms=old_ms, topic=HISTORY_TOPIC), rules())[0].topic == HISTORY_TOPIC


@pytest.mark.parametrize(
    ("sets", "renames", "said"),
    [
        (["user"], [], "--set must be FIELD=VALUE, not 'user'"),
        (["usr_id=x"], [], r"unknown field 'usr_id' \(did you mean 'user_id'\?\)"),
        (["value=much"], [], "--set value must be a number, not 'much'"),
        (["value=NaN"], [], "--set value must be a number"),
        (["event_time_ms=1.5"], [], "--set event_time_ms must be whole milliseconds"),
        (["action=clik"], [], r"action 'clik' is not declared in headrace.yaml \(did you mean 'click'\?\)"),
        ([], ["a"], "--rename-action must be OLD=NEW"),
        ([], ["a=clik"], r"action 'clik' is not declared"),
    ],
)
def test_a_mend_that_mends_nothing_is_refused(sets: list[str], renames: list[str], said: str) -> None:
    """Before anything is read."""
    with pytest.raises(DlqUsageError, match=said):
        parse_mend(sets, renames, APP)


def test_feedback_without_proof_stays() -> None:
    """`--as-history`, whose topic asks for none, is no way around it; `--force` is a decision."""
    one = letter(reason="bad_token", request_id="r-1")
    assert prepare(one, rules()) == prepare(one, rules(as_history=True))
    assert isinstance(prepare(one, rules(as_history=True)), Left)
    assert isinstance(prepare(one, rules(is_forced=True)), Resend)


def test_one_event_id_is_for_one_letter() -> None:
    """Set on many, all but the first would be dropped as doubles and yet be noted as replayed."""
    for num_letters in (0, 2):
        with pytest.raises(DlqUsageError, match="--letter"):
            parse_mend(["event_id=e9"], [], APP, num_letters)
    assert parse_mend(["event_id=e9"], [], APP, 1).fields == {"event_id": "e9"}


@pytest.mark.parametrize(
    ("raw", "code", "mend"),
    [
        (raw_event().replace(b'"ada"', b'"\\ud800"'), "still bad_user_id", "user_id=ada"),
        (raw_event(value=4).replace(b": 4", b": 1e999"), "still bad_value", "value=4"),
    ],
)
def test_what_the_job_reads_can_be_mended(raw: bytes, code: str, mend: str) -> None:
    """Infinite numbers and halves of characters are JSON to the job, and `bad_*`."""
    left = prepare(letter(raw), rules())
    assert isinstance(left, Left)
    assert left.code == code
    assert prepare(letter(raw), rules(is_forced=True)) == Resend(
        EVENTS_TOPIC, None if "user" in code else b"ada", raw, "e1"
    )
    _, event = sent(letter(raw), rules(sets=[mend]))
    assert event == json.loads(raw_event(**({"value": 4} if "value" in code else {})))


def test_a_mend_that_makes_a_record_too_large_leaves_it() -> None:
    """Kafka would refuse it at every try."""
    left = prepare(letter(extra="x" * 40_000), rules(sets=["context.page=" + "y" * 30_000]))
    assert isinstance(left, Left)
    assert left.code == "still too_large"
