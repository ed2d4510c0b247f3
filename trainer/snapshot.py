"""A version, or what changed since the last, out of the learner: copied at a batch boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from features.model_inputs import user_service
from trainer.config import config_hash
from trainer.model import Model
from trainer.online_learner import OnlineLearner
from trainer.version_cut import Cut, TouchedTensor
from trainer.version_files import Manifest, ModelVersion, Version


@dataclass(frozen=True)
class VersionLabel:
    """What a version is called and what it stands for."""

    name: str
    version: ModelVersion
    parent_version: str
    offsets: Mapping[str, int]
    created_time_ms: int
    oldest_event_time_ms: int = 0
    """Of what was learnt since the version before."""


def build_version(learner: OnlineLearner, label: VersionLabel) -> Version:
    """Copy everything that serves out of `learner`; later learning does not change the result."""
    tower = learner.weights.tower
    item_vectors = learner.retrieval.item_vectors()
    counts = learner.builder.counts.arrays(len(item_vectors))
    _take_touched(learner)
    dense, canary_inputs, manifest = _told(learner, label, len(item_vectors))
    return Version(
        manifest=manifest,
        dense=dense,
        item_ids=learner.builder.items.item_ids[:],
        item_vectors=item_vectors,
        user_ids=tower.user_rows.ids[:],
        user_embedding=tower.user_rows.weight.cpu().numpy().copy(),
        canary_inputs=canary_inputs,
        **cast(Any, counts),
    )


def build_cut(learner: OnlineLearner, label: VersionLabel) -> Cut:
    """Copy what changed since the last version or cut out of `learner`; later learning does not change the result."""
    users, counts = learner.weights.tower.user_rows, learner.builder.counts
    item_vectors = learner.retrieval.item_vectors()
    counts.reserve(len(item_vectors))
    of_users, of_items = _take_touched(learner)
    touched = {name: TouchedTensor(rows, counts.array(name)[rows]) for name, rows in of_items.items()}
    rows = torch.from_numpy(of_users).to(users.weight.device)
    touched["user_embedding"] = TouchedTensor(of_users, users.weight[rows].cpu().numpy())
    touched["item_vectors"] = TouchedTensor(np.arange(len(item_vectors)), item_vectors)
    dense, canary_inputs, manifest = _told(learner, label, len(item_vectors))
    return Cut(
        manifest=manifest,
        dense=dense,
        canary_inputs=canary_inputs,
        item_ids=learner.builder.items.item_ids,
        touched=touched,
        user_ids=[users.ids[row] for row in of_users.tolist()],
    )


def _take_touched(learner: OnlineLearner) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    return learner.weights.tower.user_rows.take_touched(), learner.builder.counts.take_touched()


def _told(
    learner: OnlineLearner, label: VersionLabel, num_items: int
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], Manifest]:
    """Return dense weights, canary inputs and what the version says of itself."""
    dense, canary_inputs, progress = learner.model.dense(), learner.canary_inputs(), learner.progress
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
        oldest_event_time_ms=label.oldest_event_time_ms,
        newest_event_time_ms=progress.newest_event_time_ms,
        newest_broker_time_ms=progress.newest_broker_time_ms,
        num_items=num_items,
        num_users=len(learner.weights.tower.user_rows),
    )
    return dense, canary_inputs, manifest
