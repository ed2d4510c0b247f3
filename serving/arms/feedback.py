"""What lists earned, as the sample job joined it: corrections name their list, its user, action and outcome."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from features.config import AppConfig
from features.json_records import JsonDecoder
from serving.topic_reader import TopicReader

SAMPLES_TOPIC = "headrace.samples.v1"
_CORRECTION = "correction"
_REMEMBERED = 200_000
"""Newest lists, and newest events, that feedback is known of; 200 bytes each."""


class Feedback(msgspec.Struct):
    """As much of a sample (`protos/samples.proto`) as tells what a list earned."""

    kind: str
    request_id: str = ""
    event_id: str = ""
    action: str = ""
    outcome: int = 0

    @property
    def names_a_list(self) -> bool:
        """Whether it belongs to a list that was shown."""
        return self.kind == _CORRECTION

    def reward(self, app: AppConfig) -> float:
        """Return what it is worth: `actions.*.reward`, negative for what was not wanted, 0 for what is neutral."""
        action = app.actions.get(self.action)  # It may have left `headrace.yaml` since.
        return 0.0 if action is None else self.outcome * action.reward


_decoder = JsonDecoder(Feedback)


def decode_feedback(value: bytes | None) -> Feedback | None:
    """Return the feedback of a record of `headrace.samples.v1`; None for anything else, broken ones among it."""
    if value is None:
        return None
    try:
        feedback = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return feedback if feedback.names_a_list else None


class FeedbackReader:
    """Tells what lists of this process earn, from now on.

    Args:
        connect: makes a consumer.
        app: what actions are worth.
        earned: takes arm, user and reward, on the event loop.
    """

    def __init__(self, connect: Callable[[], Any], app: AppConfig, earned: Callable[[str, str, float], None]) -> None:
        self._app = app
        self._earned = earned
        self._lists: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._events: OrderedDict[str, None] = OrderedDict()
        self._reader = TopicReader(
            connect, (SAMPLES_TOPIC,), lambda record: decode_feedback(record.value), self._apply, is_from_end=True
        )

    def start(self) -> None:
        """Begin; call on the event loop."""
        self._reader.start()

    async def stop(self) -> None:
        """End."""
        await self._reader.stop()

    def expect(self, request_id: str, arm: str, user_id: str) -> None:
        """Remember a list whose feedback is wanted."""
        self._lists[request_id] = arm, user_id
        if len(self._lists) > _REMEMBERED:
            self._lists.popitem(last=False)

    def _apply(self, batch: list[Feedback]) -> None:
        for feedback in batch:
            known, reward = self._lists.get(feedback.request_id), feedback.reward(self._app)
            if known is None or not reward or feedback.event_id in self._events:
                continue
            self._events[feedback.event_id] = None
            if len(self._events) > _REMEMBERED:
                self._events.popitem(last=False)
            self._earned(*known, reward)
