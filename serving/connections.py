"""What a server reaches out to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving.kafka_writer import Producer, connect_producer
from serving.server_settings import ServerSettings
from serving.topic_reader import connect_consumer
from serving.user_rows import RedisUserRows


@dataclass(frozen=True)
class Connections:
    """What a server reaches out to; tests give their own."""

    user_rows: RedisUserRows
    connect_consumer: Callable[[], Any]
    connect_producer: Callable[[], Producer]

    @classmethod
    def of(cls, settings: ServerSettings) -> Connections:
        """Return the connections to the running stack; nothing is connected yet."""
        return cls(
            RedisUserRows(settings.endpoints, settings.app),
            partial(connect_consumer, settings.endpoints.kafka_servers),
            partial(connect_producer, settings.endpoints.kafka_servers),
        )
