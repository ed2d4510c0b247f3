"""Translates `Recommender` calls: proto to domain and back, and checks of what came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from features.config import MAX_ID_BYTES, AppConfig, nearest_name
from features.security.tokens import token_of
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving import errors
from serving.admission import Admission
from serving.answers import Answer, RankedItem, RecommendQuery
from serving.budget import Budget
from serving.call_errors import answers_errors
from serving.checked_id import check_id
from serving.config import ServingConfig
from serving.recommender import Recommender
from serving.request_scope import RequestScope
from serving.security.request_tokens import RequestTokens
from serving.tracing import Tracing

DEFAULT_NUM_ITEMS = 10
MAX_NUM_ITEMS = 500
MAX_CANDIDATES = 2000
MAX_CONTEXT_ENTRIES = 32
MAX_CONTEXT_BYTES = 256


class RecommenderServicer(serving_pb2_grpc.RecommenderServicer):
    """The `Recommender` service over the domain's recommender.

    Args:
        recommender: answers.
        app: declared surfaces.
        config: deadlines.
        admission: lets requests in.
        tokens: signs answers; None where request tokens are off.
        tracing: begins traces; None where they are off.
    """

    def __init__(
        self,
        recommender: Recommender,
        app: AppConfig,
        config: ServingConfig,
        admission: Admission,
        tokens: RequestTokens | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._recommender = recommender
        self._app = app
        self._deadline_s = config.deadline_ms / 1000.0
        self._reserve_s = config.reserve_ms / 1000.0
        self._admission = admission
        self._tokens = tokens

    @answers_errors
    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        """Retrieve and rank."""
        with RequestScope(self._tracing, "Recommend", context) as scope:
            budget, is_prefetch = self._budget_of(context), request.priority == pb.PRIORITY_PREFETCH
            with self._admission.admit(token_of(context.invocation_metadata()), is_prefetch, budget):
                answer = await self._recommender.recommend(self._query_of(request), budget)
            scope.note_answer(answer)
            reply = pb.RecommendResponse(
                request_id=answer.request_id,
                model_version=answer.model_version,
                model_age_s=answer.model_age_s,
                arm=answer.arm,
                degraded_reasons=answer.degraded_reasons,
                request_token=self._request_token(request.user_id, answer),
                served_time_ms=answer.served_time_ms,
                experiment=answer.experiment,
            )
            _put_items(reply, answer.items, answer.heads)
            return reply

    @answers_errors
    async def Rank(self, request: pb.RankRequest, context: Any) -> pb.RankResponse:
        """Score the given candidates."""
        with RequestScope(self._tracing, "Rank", context) as scope:
            budget = self._budget_of(context)
            with self._admission.admit(token_of(context.invocation_metadata()), False, budget):
                self._check_rank(request)
                item_ids = list(request.item_ids)
                answer = await self._recommender.rank(request.user_id, item_ids, budget, request.include_heads)
            scope.note_answer(answer)
            return _rank_response(answer)

    @answers_errors
    async def SimilarItems(self, request: pb.SimilarItemsRequest, context: Any) -> pb.SimilarItemsResponse:
        """Answer from item vectors and co-visitation."""
        with RequestScope(self._tracing, "SimilarItems", context) as scope:
            budget = self._budget_of(context)
            with self._admission.admit(token_of(context.invocation_metadata()), False, budget):
                check_id("item_id", request.item_id)
                num_items = check_num_items(request.num_items)
                answer = self._recommender.similar_items(request.item_id, num_items, budget)
            scope.note_answer(answer)
            reply = pb.SimilarItemsResponse(
                model_version=answer.model_version, degraded_reasons=answer.degraded_reasons
            )
            _put_items(reply, answer.items)
            return reply

    def _query_of(self, request: pb.RecommendRequest) -> RecommendQuery:
        """Check a request and translate it.

        Raises:
            RequestError: a value is out of bounds.
        """
        check_id("user_id", request.user_id)
        _check_context(request.context)
        _check_ids("candidate_item_ids", request.candidate_item_ids)
        _check_ids("exclude_item_ids", request.exclude_item_ids)
        _check_ids("category_filter", request.category_filter)
        return RecommendQuery(
            user_id=request.user_id,
            num_items=check_num_items(request.num_items),
            surface=self._check_surface(request.surface),
            context=dict(request.context),
            candidate_item_ids=tuple(request.candidate_item_ids),
            exclude_item_ids=tuple(request.exclude_item_ids),
            category_filter=tuple(request.category_filter),
            is_prefetch=request.priority == pb.PRIORITY_PREFETCH,
            include_heads=request.include_heads,
        )

    def _check_rank(self, request: pb.RankRequest) -> None:
        """Check a request.

        Raises:
            RequestError: a value is out of bounds.
        """
        check_id("user_id", request.user_id)
        self._check_surface(request.surface)
        _check_context(request.context)
        if not request.item_ids:
            raise errors.RequestError("item_ids is empty; give 1 to 2000 items to score")
        _check_ids("item_ids", request.item_ids)

    def _budget_of(self, context: Any) -> Budget:
        """Return the client's deadline, or the default one, less what the answer's way back takes.

        Raises:
            OverloadedError: the deadline is over.
        """
        left_s = context.time_remaining()
        if left_s is not None and left_s <= 0.0:
            self._admission.refuse_late()
        return Budget.of((self._deadline_s if left_s is None else left_s) - self._reserve_s)

    def _request_token(self, user_id: str, answer: Answer) -> str:
        """Return what proves that the user was shown this list; empty where tokens are off."""
        if self._tokens is None:
            return ""
        item_ids = (item.item_id for item in answer.items)
        return self._tokens.sign(answer.request_id, user_id, item_ids, answer.served_time_ms, answer.arm)

    def _check_surface(self, surface: str) -> str:
        name = surface or "default"
        if name not in self._app.surfaces:
            hint = nearest_name(name, list(self._app.surfaces))
            raise errors.RequestError(f"surface {name!r:.80} is not declared in headrace.yaml{hint}")
        return name


def check_num_items(num_items: int) -> int:
    """Return the list length asked for, the default for 0.

    Raises:
        RequestError: it is out of bounds.
    """
    if not 0 <= num_items <= MAX_NUM_ITEMS:
        raise errors.RequestError(f"num_items is {num_items}; send 1 to {MAX_NUM_ITEMS}, or 0 for {DEFAULT_NUM_ITEMS}")
    return num_items or DEFAULT_NUM_ITEMS


def _check_ids(field: str, values: Sequence[str]) -> None:
    if len(values) > MAX_CANDIDATES:
        raise errors.RequestError(f"{field} has {len(values)} entries; send at most {MAX_CANDIDATES}")
    for value in values:
        check_id(field, value)


def _check_context(context: Any) -> None:
    """Check the context map, which is written with every served list."""
    if len(context) > MAX_CONTEXT_ENTRIES:
        raise errors.RequestError(f"context has {len(context)} entries; send at most {MAX_CONTEXT_ENTRIES}")
    for key, value in context.items():
        if len(key.encode()) > MAX_ID_BYTES or len(value.encode()) > MAX_CONTEXT_BYTES:
            raise errors.RequestError(
                f"context entry {key!r:.40} is too long; send keys of at most {MAX_ID_BYTES} bytes "
                f"and values of at most {MAX_CONTEXT_BYTES}"
            )


def _rank_response(answer: Answer) -> pb.RankResponse:
    reply = pb.RankResponse(
        request_id=answer.request_id,
        model_version=answer.model_version,
        model_age_s=answer.model_age_s,
        degraded_reasons=answer.degraded_reasons,
        served_time_ms=answer.served_time_ms,
        experiment=answer.experiment,
        arm=answer.arm,
    )
    _put_items(reply, answer.items, answer.heads)
    return reply


def _put_items(
    reply: pb.RecommendResponse | pb.RankResponse | pb.SimilarItemsResponse,
    items: Iterable[RankedItem],
    heads: Iterable[Mapping[str, float]] = (),
) -> None:
    """Write the items of an answer into its reply; by keyword, protobuf takes twice as long for each."""
    add = reply.items.add
    for position, (item, chances) in enumerate(zip_longest(items, heads)):
        added = add()
        added.item_id, added.score, added.source, added.propensity, _ = item
        added.position = position
        if chances:
            added.heads.update(chances)
