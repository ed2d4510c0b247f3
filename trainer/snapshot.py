"""A version out of the learner: what a server needs, copied at a batch boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.model_inputs import user_service
from trainer.config import config_hash
from trainer.model import Model
from trainer.online_learner import OnlineLearner
from trainer.version_files import Manifest, ModelVersion, Version

CANARY_BOUND = 50.0
"""A logit beyond this says 1e-22: the weights ran away."""


@dataclass(frozen=True)
class VersionLabel:
    """What a version is called and what it stands for."""

    name: str
    version: ModelVersion
    parent_version: str
    offsets: Mapping[str, int]
    created_time_ms: int


def build_version(learner: OnlineLearner, label: VersionLabel) -> Version:
    """Copy everything that serves out of `learner`; later learning does not change the result."""
    dense = learner.model.dense()
    canary_inputs = _canary_inputs(learner)
    items, tower, progress = learner.builder.items, learner.weights.tower, learner.progress
    item_vectors = learner.retrieval.item_vectors()
    counts = learner.builder.counts.arrays(len(item_vectors))
    manifest = Manifest(
        name=label.name,
        version=str(label.version),
        parent_version=label.parent_version,
        created_time_ms=label.created_time_ms,
        feature_service=user_service(learner.app.features),
        feature_schema_hash=learner.schema_hash,
        config_hash=config_hash(learner.app, learner.config, learner.labels),
        sample_offsets=dict(label.offsets),
        metrics={
            **learner.metrics.values(),
            **learner.drift.metrics(progress.step),
            "samples": float(progress.samples),
            "steps": float(progress.step),
        },
        canary_scores=tuple(Model.from_dense(dense).rank(canary_inputs).tolist()),
        heads=learner.judged_heads,
        newest_event_time_ms=progress.newest_event_time_ms,
        newest_broker_time_ms=progress.newest_broker_time_ms,
    )
    return Version(
        manifest=manifest,
        dense=dense,
        item_ids=items.item_ids[:],
        item_vectors=item_vectors,
        user_ids=tower.user_rows.ids[:],
        user_embedding=tower.user_rows.weight.cpu().numpy().copy(),
        canary_inputs=canary_inputs,
        neighbours=counts["neighbours"],
        weights=counts["weights"],
        totals=counts["totals"],
        successors=counts["successors"],
        successor_weights=counts["successor_weights"],
        successor_totals=counts["successor_totals"],
        title_tokens=counts["title_tokens"],
        seen_ms=counts["seen_ms"],
    )


def gate_reason(version: Version) -> str:
    """Say why a version must be held, empty where it may serve."""
    scores = np.array(version.manifest.canary_scores)
    if not np.isfinite(scores).all():
        return "canary scores are not finite"
    worst = float(np.abs(scores).max(initial=0.0))
    return f"a canary score is {worst:.3g}, the bound is {CANARY_BOUND:g}" if worst > CANARY_BOUND else ""


def _canary_inputs(learner: OnlineLearner) -> NDArray[np.float32]:
    """Return rows that the ranker saw lately, seeded ones before it saw any; (C, F)."""
    if len(learner.recent_inputs):
        return learner.recent_inputs.copy()
    random = np.random.default_rng(learner.config.seed)
    return random.standard_normal((8, learner.num_inputs), dtype=np.float32)
