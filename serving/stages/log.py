"""Stage 8, log: what was shown, with the inputs that the ranker saw and the chances of every place."""

from __future__ import annotations

from typing import Protocol

from serving.answers import Answer, RankedList, RecommendQuery
from serving.served_log import ServedList


class ServedSink(Protocol):
    """Takes what was served."""

    def put(self, served: ServedList) -> None:
        """Queue one list; never waits."""


def served_list(query: RecommendQuery, answer: Answer, ranked: RankedList, learn: bool) -> ServedList:
    """Return the record of one list."""
    return ServedList(
        request_id=answer.request_id,
        user_id=query.user_id,
        surface=query.surface,
        served_time_ms=answer.served_time_ms,
        model_version=answer.model_version,
        feature_schema_hash=ranked.feature_schema_hash,
        user_row=ranked.user_row,
        context=query.context,
        items=ranked.items,
        rows=ranked.rows,
        learn=learn,
        experiment=answer.experiment,
        arm=answer.arm,
    )
