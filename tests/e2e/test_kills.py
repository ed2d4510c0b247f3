"""Parts killed with -9 on the real stack: restarted, nothing lost."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter

import pytest

from headrace_client import Ack, Event, EventProducer, Recommender
from tests.e2e.app import covers, read_topic
from tests.running_stack import RunningStack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.shakes, pytest.mark.timeout(600)]
VICTIMS = ("trainer", "ingester", "server", "taskmanager-1", "taskmanager-2")


@pytest.mark.parametrize("part", VICTIMS)
def test_a_killed_part_comes_back_and_no_event_is_lost(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]], part: str
) -> None:
    """Events sent before, during and after the kill are each learnt from: one sample id per acknowledged event."""
    restarts = stack.local.restarts(part)
    sent: dict[str, Ack] = {}
    for step in range(200):
        if step == 100:
            os.kill(stack.local.pid_of(part), signal.SIGKILL)
        event_id = uuid.uuid4().hex
        item_id = tastes[step % 4][step % 12]
        event = Event(user_id=f"{part}-user-{step % 20}", item_id=item_id, action="click", event_id=event_id)
        sent[event_id] = producer.send(event).result(60)
    stack.local.wait_ready(part, timeout_s=90, after_restarts=restarts + 1)
    wait_for(lambda: _all_sampled(stack, sent), f"every event as a sample after {part} was killed", timeout_s=90)
    newest = max(sent.values(), key=lambda ack: ack.record_time_ms)
    reply = wait_for(lambda: covers(stack, recommender, newest), "served weights that cover them", timeout_s=60)
    assert reply.model_version


def _all_sampled(stack: RunningStack, sent: dict[str, Ack]) -> bool:
    """Say whether every event has its organic sample; a replay after a crash may repeat one with the same id."""
    samples = read_topic(stack, "headrace.samples.v1")
    found = Counter(sample["sample_id"] for sample in samples if sample["kind"] == "organic")
    return sent.keys() <= found.keys()
