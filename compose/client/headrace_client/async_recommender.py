"""The asyncio client: the blocking one with `await`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc.aio

from headrace_client.calls import (
    DEFAULT_DEADLINE_S,
    channel_options,
    error_of,
    open_methods,
    rank_request,
    recommend_request,
    token_metadata,
)
from headrace_client.serving_pb2 import (
    RankResponse,
    RecommendResponse,
    SimilarItemsRequest,
    SimilarItemsResponse,
)
from headrace_client.tls import Tls, open_channel


class AsyncRecommender:
    """Asks a Headrace server; to be made and used inside one event loop.

    Args:
        address: `host:port` of the Recommender.
        deadline_s: for a call and all its tries.
        token: of role `recommend`, where the server wants one; quotas count by it. Sent with every call.
        tls: how to connect to a server with certificates; None for plain text.

    Raises:
        OSError: a file of `tls` cannot be read.
    """

    def __init__(
        self, address: str, deadline_s: float = DEFAULT_DEADLINE_S, token: str = "", tls: Tls | None = None
    ) -> None:
        self._deadline_s = deadline_s
        self._metadata = token_metadata(token)
        self._channel: Any = open_channel(grpc.aio, address, tls, channel_options())
        self._methods = open_methods(self._channel)

    async def recommend(
        self,
        user_id: str,
        num_items: int = 10,
        surface: str = "",
        context: Mapping[str, str] | None = None,
        *,
        candidate_item_ids: Sequence[str] = (),
        exclude_item_ids: Sequence[str] = (),
        category_filter: Sequence[str] = (),
        is_prefetch: bool = False,
        include_heads: bool = False,
        deadline_s: float | None = None,
    ) -> RecommendResponse:
        """Return a list for a user; put its `request_id` into the events that react to it.

        Calls made ahead of need say `is_prefetch`: an overloaded server drops them first. With `include_heads` each
        item's `heads` tells the chance of a click, a purchase or whatever else the app declares.

        Raises:
            RecommendError: no answer; see its subclasses.
        """
        request = recommend_request(
            user_id,
            num_items,
            surface,
            context,
            candidate_item_ids,
            exclude_item_ids,
            category_filter,
            is_prefetch,
            include_heads,
        )
        reply: RecommendResponse = await self._call("Recommend", request, deadline_s)
        return reply

    async def rank(
        self,
        user_id: str,
        item_ids: Sequence[str],
        surface: str = "",
        context: Mapping[str, str] | None = None,
        *,
        include_heads: bool = False,
        deadline_s: float | None = None,
    ) -> RankResponse:
        """Return the given items best first; with `include_heads` each with the chance of every head.

        Raises:
            RecommendError: no answer; see its subclasses.
        """
        request = rank_request(user_id, item_ids, surface, context, include_heads)
        reply: RankResponse = await self._call("Rank", request, deadline_s)
        return reply

    async def similar_items(
        self, item_id: str, num_items: int = 10, *, deadline_s: float | None = None
    ) -> SimilarItemsResponse:
        """Return items like the given one.

        Raises:
            RecommendError: no answer; see its subclasses.
        """
        request = SimilarItemsRequest(item_id=item_id, num_items=num_items)
        reply: SimilarItemsResponse = await self._call("SimilarItems", request, deadline_s)
        return reply

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, request: Any, deadline_s: float | None) -> Any:
        try:
            return await self._methods[method](request, timeout=deadline_s or self._deadline_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
