"""What the blocking and the asyncio client share: channel options, requests, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from headrace_client.errors import DeadlineError, OverloadedError, RecommendError, RefusedError, UnavailableError
from headrace_client.serving_pb2 import (
    PRIORITY_INTERACTIVE,
    PRIORITY_PREFETCH,
    RankRequest,
    RankResponse,
    RecommendRequest,
    RecommendResponse,
    SimilarItemsRequest,
    SimilarItemsResponse,
)

SERVICE = "headrace.serving.v1.Recommender"
DEFAULT_DEADLINE_S = 1.0

METHODS: Mapping[str, tuple[Any, Any]] = {
    "Recommend": (RecommendRequest, RecommendResponse),
    "Rank": (RankRequest, RankResponse),
    "SimilarItems": (SimilarItemsRequest, SimilarItemsResponse),
}

_RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.3s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


def channel_options() -> list[tuple[str, Any]]:
    """Return options that retry within the deadline, and find a restarted server within 0.5 s.

    An overloaded server says in its refusal when to come again; gRPC keeps to that.
    """
    service_config = {"methodConfig": [{"name": [{"service": SERVICE}], "retryPolicy": _RETRY_POLICY}]}
    return [
        ("grpc.service_config", json.dumps(service_config)),
        ("grpc.enable_retries", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]


def token_metadata(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata by which a call carries its token; none without one."""
    return (("authorization", f"Bearer {token}"),) if token else ()


def open_methods(channel: Any) -> dict[str, Any]:
    """Return one callable per method of the service."""
    return {
        name: channel.unary_unary(
            f"/{SERVICE}/{name}", request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )
        for name, (request, reply) in METHODS.items()
    }


def recommend_request(
    user_id: str,
    num_items: int,
    surface: str,
    context: Mapping[str, str] | None,
    candidate_item_ids: Sequence[str],
    exclude_item_ids: Sequence[str],
    category_filter: Sequence[str],
    is_prefetch: bool,
    include_heads: bool,
) -> RecommendRequest:
    """Build the request of `recommend`."""
    return RecommendRequest(
        user_id=user_id,
        num_items=num_items,
        surface=surface,
        context=dict(context or {}),
        candidate_item_ids=candidate_item_ids,
        exclude_item_ids=exclude_item_ids,
        category_filter=category_filter,
        priority=PRIORITY_PREFETCH if is_prefetch else PRIORITY_INTERACTIVE,
        include_heads=include_heads,
    )


def rank_request(
    user_id: str, item_ids: Sequence[str], surface: str, context: Mapping[str, str] | None, include_heads: bool
) -> RankRequest:
    """Build the request of `rank`."""
    return RankRequest(
        user_id=user_id,
        item_ids=item_ids,
        surface=surface,
        context=dict(context or {}),
        include_heads=include_heads,
    )


def error_of(error: Any) -> RecommendError:
    """Translate a gRPC error."""
    code = error.code()
    message = f"{code.name}: {error.details()}"
    if code == grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(message)
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return OverloadedError(message)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(message)
    return RefusedError(message)
