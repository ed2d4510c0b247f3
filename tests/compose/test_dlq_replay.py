"""A replayed letter is marked behind its acknowledgement, and left alone from then on."""

from __future__ import annotations

import json
from concurrent.futures import Future

from compose.dlq_mend import ReplayRules
from compose.dlq_replay import MARKERS_TOPIC, DlqReplaySummary, replay_letters
from features.config import load_app_config
from headrace_client import EVENTS_TOPIC, Ack, NotAcknowledgedError
from tests.compose.dead_letters import NOW_MS, letter
from tests.compose.small_stack import ROOT

RULES = ReplayRules(load_app_config(ROOT / "headrace.yaml"), NOW_MS)


class ScriptedProducer:
    """Acknowledges at the flush; loses the records of some users."""

    def __init__(self, losing: bytes = b"") -> None:
        self.records: list[tuple[str, bytes | None, bytes]] = []
        self.losing = losing
        self._pending: list[tuple[Future[Ack], bytes | None]] = []

    def send_record(self, topic: str, key: bytes | None, value: bytes) -> Future[Ack]:
        """Keep the record."""
        self.records.append((topic, key, value))
        self._pending.append((Future(), key))
        return self._pending[-1][0]

    def flush(self) -> None:
        """Acknowledge or fail all."""
        for future, key in self._pending:
            if key == self.losing:
                future.set_exception(NotAcknowledgedError("lost"))
            else:
                future.set_result(Ack(0, 0, 0))
        self._pending.clear()


def test_each_letter_is_sent_and_then_marked() -> None:
    """The marker names its place, and what it was sent as."""
    producer = ScriptedProducer()
    summary = replay_letters([letter(event_id=None)], (), RULES, producer)
    (topic, key, _), (marker_topic, marker_key, marker) = producer.records
    assert marker_key is not None
    assert (topic, key, marker_topic, marker_key) == (EVENTS_TOPIC, b"ada", MARKERS_TOPIC, b"headrace.events.v1:2:7")
    told = json.loads(marker)
    assert told["replayed_time_ms"] > 0
    assert (told["event_id"], told["topic"], told["reason"]) == (marker_key.decode(), EVENTS_TOPIC, "unknown_action")
    assert (summary.sent, summary.exit_code) == (1, 0)


def test_a_lost_record_is_not_marked() -> None:
    """It goes along next time."""
    producer = ScriptedProducer(losing=b"bob")
    letters = [letter(user_id="bob"), letter(offset=8)]
    summary = replay_letters(letters, (), RULES, producer)
    assert (summary.sent, summary.failed, summary.exit_code) == (1, 1, 1)
    assert [key for topic, key, _ in producer.records if topic == MARKERS_TOPIC] == [b"headrace.events.v1:2:8"]


def test_a_marked_letter_is_left_alone() -> None:
    """And a letter that stands in the topic twice is sent once."""
    producer = ScriptedProducer()
    letters = [letter(), letter(offset=8), letter(offset=8)]
    summary = replay_letters(letters, {"headrace.events.v1:2:7"}, RULES, producer)
    assert (summary.chosen, summary.sent, summary.already_replayed) == (3, 1, 2)


def test_a_dry_run_tells_what_would_go_out_and_what_stays() -> None:
    """And sends nothing: there is no producer."""
    letters = [letter(), letter(offset=8, action="wink"), letter(offset=9, reason="too_large")]
    summary = replay_letters(letters, (), RULES, None)
    assert isinstance(summary, DlqReplaySummary)
    assert (summary.is_dry_run, summary.sent) == (True, 1)
    assert dict(summary.left) == {"still unknown_action": 1, "too_large": 1}
    assert json.loads(summary.first_records[0])["user_id"] == "ada"
