"""Stage 7, answer: the list with its request id, version and reasons."""

from __future__ import annotations

from features.request_id import REQUEST_ID, new_request_id
from serving.answers import Answer, RankedList
from serving.arms.arm import Arm
from serving.serving_model import ServingModel


def make_answer(
    ranked: RankedList,
    model: ServingModel | None,
    reasons: tuple[str, ...],
    now_ms: int,
    arm: Arm,
    include_heads: bool = False,
) -> Answer:
    """Return the answer of an arm; a fallback names no version, and has no chances of heads.

    The age is that of the model that ranked, or of the live one behind a fallback.
    """
    created_ms = ranked.model_created_ms or (model.created_time_ms if model is not None else now_ms)
    return Answer(
        request_id=REQUEST_ID.get() or new_request_id(),
        items=ranked.items,
        model_version=ranked.model_version,
        model_age_s=max(0.0, (now_ms - created_ms) / 1000.0),
        degraded_reasons=reasons,
        served_time_ms=now_ms,
        heads=_heads(ranked, model) if include_heads else (),
        experiment=arm.experiment,
        arm=arm.name,
    )


def _heads(ranked: RankedList, model: ServingModel | None) -> tuple[dict[str, float], ...]:
    """Return head -> chance of each item that has ranker inputs: none from a fallback or a cached ranking."""
    if model is None or not len(ranked.rows):
        return ()
    chances = model.head_chances(ranked.rows).tolist()
    return tuple(dict(zip(model.head_names, row, strict=False)) for row in chances)
