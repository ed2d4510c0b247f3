"""Laws of what lists earn: of lists that are known, each event once, as `headrace.yaml` values it."""

from __future__ import annotations

import json

from features.config import ActionConfig, AppConfig
from serving.arms.feedback import SAMPLES_TOPIC, FeedbackReader
from tests.fakes import FakeBroker
from tests.serving.test_topic_reader import until

APP = AppConfig(
    actions={
        "buy": ActionConfig(outcome="positive", reward=5.0),
        "hide": ActionConfig(outcome="negative", reward=0.5),
        "view": ActionConfig(),
    }
)


def sample(request: str, event: str, action: str, outcome: int, kind: str = "correction") -> bytes:
    """Return one record of the samples' topic."""
    record = {"kind": kind, "request_id": request, "event_id": event, "action": action, "outcome": outcome}
    return json.dumps(record | {"items": [{"row": [1.0, None]}], "user_row": []}).encode()


async def test_known_lists_earn_once_an_event() -> None:
    """Repeated events, unknown lists, neutral or undeclared actions, other kinds and broken records earn nothing."""
    broker, earned = FakeBroker([SAMPLES_TOPIC]), list[tuple[str, str, float]]()
    reader = FeedbackReader(broker.connect, APP, lambda *told: earned.append(told))
    reader.expect("r1", "canary", "ann")
    reader.start()
    await until(lambda: reader._reader.is_connected)
    for value in (
        *(sample("r1", "e1", "buy", 1), sample("r1", "e1", "buy", 1), sample("r9", "e2", "buy", 1)),
        *(sample("r1", "e3", "view", 0), sample("r1", "e4", "gone", 1), sample("r1", "e5", "buy", 1, "organic")),
        *(b"{", None, sample("r1", "e6", "hide", -1)),
    ):
        broker.append(SAMPLES_TOPIC, None, value)
    await until(lambda: len(earned) > 1)
    assert earned == [("canary", "ann", 5.0), ("canary", "ann", -0.5)]
    await reader.stop()
