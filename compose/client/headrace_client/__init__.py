"""What an app backend needs of Headrace: ask for recommendations, tell what users do, announce items.

In: addresses. Out: gRPC calls and Kafka records. May import: grpcio, protobuf, kafka-python; nothing else of Headrace.
`serving_pb2` is a copy of the server's generated messages, held equal by a test.
"""

from __future__ import annotations

from headrace_client.async_recommender import AsyncRecommender
from headrace_client.errors import (
    BrokerUnavailableError,
    BufferFullError,
    DeadlineError,
    HeadraceClientError,
    InvalidRecordError,
    NotAcknowledgedError,
    OverloadedError,
    RecommendError,
    RefusedError,
    UnavailableError,
)
from headrace_client.producer import Ack, EventProducer
from headrace_client.recommender import Recommender
from headrace_client.records import EVENTS_TOPIC, HISTORY_TOPIC, ITEMS_TOPIC, Event, Item
from headrace_client.serving_pb2 import RankedItem, RankResponse, RecommendResponse, SimilarItemsResponse
from headrace_client.tls import Tls

__all__ = [
    "EVENTS_TOPIC",
    "HISTORY_TOPIC",
    "ITEMS_TOPIC",
    "Ack",
    "AsyncRecommender",
    "BrokerUnavailableError",
    "BufferFullError",
    "DeadlineError",
    "Event",
    "EventProducer",
    "HeadraceClientError",
    "InvalidRecordError",
    "Item",
    "NotAcknowledgedError",
    "OverloadedError",
    "RankResponse",
    "RankedItem",
    "RecommendError",
    "RecommendResponse",
    "Recommender",
    "RefusedError",
    "SimilarItemsResponse",
    "Tls",
    "UnavailableError",
]
