"""Fixtures of the end-to-end tests: clients, and a shop whose users have clear tastes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from headrace_client import EventProducer, Item, Recommender
from tests.e2e.app import covers, send_like
from tests.running_stack import RunningStack, wait_for

NUM_GROUPS = 4
ITEMS_PER_GROUP = 12


@pytest.fixture(scope="session")
def producer(stack: RunningStack) -> Iterator[EventProducer]:
    """A producer to the stack's Kafka."""
    with EventProducer(stack.endpoints.kafka) as producer:
        yield producer


@pytest.fixture(scope="session")
def recommender(stack: RunningStack) -> Iterator[Recommender]:
    """A client of the stack's server, with a deadline for a loaded test machine."""
    with Recommender(stack.endpoints.serving, deadline_s=10.0) as recommender:
        yield recommender


@pytest.fixture(scope="session")
def tastes(stack: RunningStack, producer: EventProducer, recommender: Recommender) -> list[list[str]]:
    """Four groups of items; sixty users each like five of one group in a row, so that a group co-visits."""
    mark = uuid.uuid4().hex[:6]
    groups = [[f"{mark}-{group}-{k}" for k in range(ITEMS_PER_GROUP)] for group in range(NUM_GROUPS)]
    for group, item_ids in enumerate(groups):
        for item_id in item_ids:
            producer.announce(Item(item_id=item_id, title=item_id, categories=[f"taste-{group}"]))
    for user in range(60):
        item_ids = groups[user % NUM_GROUPS]
        for step in range(5):
            send_like(producer, f"{mark}-fan-{user}", item_ids[(user // NUM_GROUPS + 2 * step) % ITEMS_PER_GROUP])
    last = send_like(producer, f"{mark}-fan-0", groups[0][11])
    wait_for(lambda: covers(stack, recommender, last), "the fans' events in served weights")
    return groups
