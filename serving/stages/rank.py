"""Stage 4, rank: one score a candidate, with what the rules add.

Letters: `n` candidates, `F` ranker inputs, `U` user inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.candidates import CandidateList
from serving.answers import RankedItem, RankedList, without_inputs
from serving.catalog import Catalog
from serving.serving_model import ServingModel


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates with their scores."""

    rows: NDArray[np.int64]
    """(n,) of the model."""
    scores: NDArray[np.float32]
    """(n,) what the list is ordered by."""
    source_codes: NDArray[np.int64]
    """(n,) index into `features.candidates.SOURCES`."""
    order: NDArray[np.int64]
    """(n,) places of the candidates, best first, equal ones in their order."""
    inputs: NDArray[np.float32] | None
    """(n, F); None where they were not kept."""
    user_inputs: NDArray[np.float32] | None
    """(U,)"""
    model_version: str
    """Of the model that scored: a recalled ranking outlives it."""
    model_created_ms: int


def rank_candidates(catalog: Catalog, found: CandidateList, surface: str) -> Ranking:
    """Score candidates with the model and the rules of a surface.

    Raises:
        FloatingPointError: a score is not finite.
    """
    scores = catalog.model.rank(found.inputs)
    added = catalog.rules_of(surface).added
    return ranking_of(catalog.model, found, scores if added is None else scores + added[found.rows])


def ranking_of(model: ServingModel, found: CandidateList, scores: NDArray[np.float32]) -> Ranking:
    """Put candidates in the order of the scores that a model gave them."""
    return Ranking(
        rows=found.rows,
        scores=scores,
        source_codes=found.source_codes,
        order=np.argsort(-scores, kind="stable"),
        inputs=found.inputs,
        user_inputs=found.user_inputs,
        model_version=model.version,
        model_created_ms=model.created_time_ms,
    )


def ranked_list(
    catalog: Catalog,
    ranking: Ranking,
    items: tuple[RankedItem, ...],
    places: list[int],
    reasons: tuple[str, ...] = (),
) -> RankedList:
    """Return the items that stand at `places` with the inputs behind them, where those were kept."""
    version, created_ms = ranking.model_version, ranking.model_created_ms
    if ranking.inputs is None or ranking.user_inputs is None:
        return without_inputs(items, version, reasons, created_ms)
    rows = ranking.inputs[places]
    schema_hash = catalog.model.feature_schema_hash
    return RankedList(items, rows, ranking.user_inputs, schema_hash, version, reasons, created_ms)
