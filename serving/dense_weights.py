"""The small weights of a version as they serve, proven by its canary; made anew for every delta, in a millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.config import FeaturesConfig
from features.model_inputs import feature_schema_hash, pre_ranker_input_names, ranker_input_names
from serving.numpy_ranker import NumpyRanker
from trainer.model import Model
from trainer.version_files import Manifest, VersionError

CANARY_TOLERANCE = 1e-3
"""Largest difference to an expected canary score, absolute and relative: float32 on another CPU, no more."""


@dataclass(frozen=True)
class DenseWeights:
    """What scores by itself, without the rows of items and users."""

    network: Model
    ranker: NumpyRanker
    pre_ranker: NDArray[np.float32]
    """(P,)"""
    projection: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Of histories, (D, D) and (D,): to take it out of the network for every list costs more than to use it."""


class WeightsProof:
    """Builds dense weights and proves that they are fit to serve here.

    Args:
        features: the schema that this server computes inputs for.
    """

    def __init__(self, features: FeaturesConfig) -> None:
        self.schema_hash = feature_schema_hash(features)
        self._num_inputs = len(ranker_input_names(features))
        self._num_pre_ranker_inputs = len(pre_ranker_input_names(features))

    def prove(
        self,
        manifest: Manifest,
        dense: Mapping[str, NDArray[np.float32]],
        canary_inputs: NDArray[np.float32],
        embedding_dim: int,
    ) -> DenseWeights:
        """Check schema, shapes and the canary, and build the weights.

        Args:
            manifest: of the snapshot or delta.
            dense: by name.
            canary_inputs: (C, F)
            embedding_dim: D of the rows they serve with.

        Raises:
            VersionError: schema, shapes or canary are not as they must be.
        """
        if manifest.feature_schema_hash != self.schema_hash:
            raise VersionError(
                "feature_schema",
                f"{manifest.version} was trained on schema {manifest.feature_schema_hash}, this server computes "
                f"{self.schema_hash}; give trainer and server the same headrace.yaml",
            )
        network = Model.from_dense(dense)
        found = (
            network.ranker.num_inputs,
            network.tower.embedding_dim,
            canary_inputs.shape[1],
            len(network.pre_ranker),
        )
        wanted = (self._num_inputs, embedding_dim, self._num_inputs, self._num_pre_ranker_inputs)
        if found != wanted:
            raise VersionError(
                "dense_tensors",
                f"{manifest.version}: inputs, dim, canary and pre-ranker inputs are {found}, must be {wanted}",
            )
        if manifest.heads and len(manifest.heads) != network.heads.num_heads:
            raise VersionError(
                "dense_tensors",
                f"{manifest.version}: {network.heads.num_heads} heads, its manifest names {manifest.heads}",
            )
        ranker = NumpyRanker(dense)
        _check_canary(manifest, ranker, canary_inputs)
        # A copy owns its memory: one kind of array for compiled code, whatever the weights were read from.
        return DenseWeights(network, ranker, np.array(dense["pre_ranker"]), network.tower.projection())


def _check_canary(manifest: Manifest, ranker: NumpyRanker, inputs: NDArray[np.float32]) -> None:
    """Check that the ranker gives the scores that its trainer saw."""
    expected = np.array(manifest.canary_scores, dtype=np.float64)
    if len(expected) != len(inputs):
        raise VersionError("tensor_shape", f"{manifest.version}: {len(inputs)} canary rows, {len(expected)} scores")
    if not len(expected):
        return
    with np.errstate(over="ignore", invalid="ignore"):  # Weights that ran away are what this is for.
        scores = ranker.rank(inputs)
    if not np.allclose(scores, expected, rtol=CANARY_TOLERANCE, atol=CANARY_TOLERANCE):
        worst = float(np.abs(scores - expected).max())
        raise VersionError(
            "canary",
            f"{manifest.version}: canary scores are off by up to {worst:.4g}, allowed is {CANARY_TOLERANCE:g}",
        )
