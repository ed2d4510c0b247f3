"""Laws of asking Kafka during an upgrade: a moment's trouble ends nothing, a refusal is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import InvalidTopicError, KafkaError, NotCoordinatorError, TopicAlreadyExistsError

from compose import next_topics
from compose.errors import StackError
from compose.next_topics import NextTopics


class FakeAdmin:
    """Answers what the test says, in turn."""

    answers: list[Any] = []  # noqa: RUF012 - one list for all clients of a test.

    def __init__(self, **_settings: Any) -> None:
        self.is_closed = False

    def create_topics(self, *_topics: Any, **_settings: Any) -> Any:
        """Return the next answer, or raise it."""
        answer = FakeAdmin.answers.pop(0)
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


@pytest.fixture
def create(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Create topics with an admin that answers as told."""
    monkeypatch.setattr(next_topics, "KafkaAdminClient", FakeAdmin)
    monkeypatch.setattr(next_topics, "_PAUSE_S", 0.0)

    def created(*answers: Any) -> None:
        FakeAdmin.answers = list(answers)
        NextTopics("k:1", ["headrace.samples.v1.next"]).create()
        assert FakeAdmin.answers == []

    return created


def test_what_may_yet_be_answered_is_asked_again(create: Callable[..., None]) -> None:
    """A broker that moves a coordinator, then a topic that the lost try had made."""
    create(NotCoordinatorError(), NotCoordinatorError(), "made")
    create(NotCoordinatorError(), TopicAlreadyExistsError())


def test_a_refusal_is_told_at_once(create: Callable[..., None]) -> None:
    """With the broker's address and its words."""
    with pytest.raises(StackError, match=r"Kafka at k:1 refuses: .*InvalidTopic"):
        create(InvalidTopicError("bad name"))


def test_patience_ends(create: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that only ever puts off is given up."""
    monkeypatch.setattr(next_topics, "_WAIT_S", -1.0)
    with pytest.raises(StackError, match="NotCoordinator"):
        create(NotCoordinatorError())
