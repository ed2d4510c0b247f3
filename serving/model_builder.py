"""Builds buffers beside the live one, in a worker thread: a snapshot, and the deltas behind it up to a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import KafkaError

from features.config import FeaturesConfig
from serving.delta_reader import GIVEN_UP, Received, deltas_from
from serving.dense_weights import WeightsProof
from serving.left_right import apply_all
from serving.model_buffer import ModelBuffer, ProvenDelta
from serving.near_rows import NearRows
from serving.snapshots import Snapshots
from trainer.version_delta import decode_delta
from trainer.version_files import ModelVersion, VersionError

REBUILD_S = 45.0
"""Longest pass over the topic: an order must be carried out within 60 s."""


@dataclass
class Built:
    """A buffer as far as it came."""

    buffer: ModelBuffer
    next_offset: int
    """Where its next delta stands on the topic; -1 for not known."""
    snapshot: str
    """Which it was built from."""
    applied: int = 0
    error: VersionError | None = None
    """Why it came no further; None at the end of the topic."""
    passed_over: VersionError | None = None
    """Why the last delta that was not fit is not: what the gap behind it comes from."""
    near: NearRows = field(default_factory=NearRows)
    """The index of its tower."""
    shared_items: int = 0
    """Items that stand in the same rows as in the live version."""


class ModelBuilder:
    """Reads and proves snapshots and deltas.

    Args:
        snapshots: of the model.
        name: of the model.
        features: the schema that this server computes inputs for.
        connect: makes a consumer of the deltas topic; None where there are no deltas.
    """

    def __init__(
        self, snapshots: Snapshots, name: str, features: FeaturesConfig, connect: Callable[[], Any] | None = None
    ) -> None:
        self._snapshots = snapshots
        self._name = name
        self._connect = connect
        self._proof = WeightsProof(features)

    @property
    def schema_hash(self) -> str:
        """The schema this server computes."""
        return self._proof.schema_hash

    def snapshot(self, version: str, manifest_sha256: str | None = None) -> Built:
        """Read a snapshot.

        Raises:
            VersionError: it is missing, or not as it must be.
        """
        read = self._snapshots.read(version, manifest_sha256)
        weights = self._proof.prove(read.manifest, read.dense, read.canary_inputs, read.item_vectors.shape[1])
        return Built(ModelBuffer.of_version(read, weights), read.manifest.delta_offset, version)

    def advance(
        self, built: Built, until: ModelVersion | None = None, may_go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Apply the deltas behind a snapshot, up to a version or to the end of the topic; `built` says how far it came.

        Args:
            built: what `snapshot` returned.
            until: the last one.
            may_go_on: asked between deltas; work is given up where it says no.

        Raises:
            VersionError: work was given up (`given_up`).
        """
        if self._connect is None:
            built.error = VersionError("no_deltas", "this server follows no deltas")
            return
        try:
            for received in deltas_from(self._connect, self._name, built.next_offset, REBUILD_S, may_go_on):
                if until is not None and received.version is not None and received.version > until:
                    return
                self._take(built, received)
                if built.error is not None or built.buffer.version == until:
                    return
        except VersionError as error:
            if error.reason == GIVEN_UP:
                raise
            built.error = error
        except (KafkaError, OSError, ValueError) as error:
            built.error = VersionError("no_deltas", f"the deltas cannot be read: {error}")

    def prove(self, received: Received, buffer: ModelBuffer) -> ProvenDelta:
        """Decode a delta and prove what can be proven before it is applied.

        Raises:
            VersionError: it is not fit.
        """
        joined = received.delta
        assert joined is not None
        delta = decode_delta(joined.payload)
        manifest = delta.manifest
        if manifest.version != joined.version or manifest.name != self._name:
            raise VersionError(
                "manifest", f"a record of {self._name} {joined.version} carries {manifest.name} {manifest.version}"
            )
        if manifest.parent_sha256 != buffer.image.digest:
            here = buffer.image.manifest.version
            raise VersionError("gap", f"delta {joined.version} changes {manifest.parent_version}, not {here}, as here")
        dim = buffer.image.tensor("item_vectors").shape[1]
        weights = self._proof.prove(manifest, delta.dense, delta.canary_inputs, dim)
        return ProvenDelta(delta, joined.digest, weights, len(joined.payload))

    def _take(self, built: Built, received: Received) -> None:
        prepared = apply_all(built.buffer, [received], self.prove)
        built.applied += len(prepared.applied)
        for _, error in prepared.unfit:
            built.passed_over = error
        if prepared.gap is not None:
            built.error = built.passed_over or prepared.gap[1]
        else:
            built.next_offset = received.next_offset
