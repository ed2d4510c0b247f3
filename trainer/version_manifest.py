"""What a version says of itself: the manifest in front of a snapshot's files and of a delta's tensors."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import numpy as np

from trainer.errors import VersionError

FORMAT = 4
MANIFEST_BYTES_LIMIT = 16 * 2**20


class FileEntry(msgspec.Struct, frozen=True):
    """What one file of a version must be."""

    path: str
    sha256: str
    bytes: int


class TensorEntry(msgspec.Struct, frozen=True):
    """What one tensor of a version must be."""

    dtype: str
    shape: tuple[int, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot or a delta says of itself; the schema of record is `protos/models.proto`.

    In a snapshot it is `manifest.json`, with `files` and `tensors` filled on writing; in a delta it stands in front of
    the tensors.
    """

    format: int = FORMAT
    name: str
    version: str
    parent_version: str = ""
    created_time_ms: int
    feature_service: str = ""
    feature_schema_hash: str
    config_hash: str = ""
    sample_offsets: dict[str, int] = {}
    metrics: dict[str, float] = {}
    files: dict[str, FileEntry] = {}
    tensors: dict[str, TensorEntry] = {}
    canary_scores: tuple[float, ...] = ()
    heads: tuple[str, ...] = ()
    oldest_event_time_ms: int = 0
    """Of what this version learnt beyond its parent; 0 where it learnt nothing."""
    newest_event_time_ms: int = 0
    newest_broker_time_ms: int = 0
    parent_sha256: str = ""
    """Of a delta: chain digest of the version that it changes."""
    num_items: int = 0
    num_users: int = 0
    delta_sha256: str = ""
    """Of a snapshot: digest of the delta that gave the same version; empty where the snapshot opens an epoch."""
    delta_offset: int = -1
    """Of a snapshot: where `headrace.deltas.v1` goes on behind it; -1 where Kafka did not say."""


def decode_manifest(raw: bytes, version: str, file_names: Collection[str]) -> Manifest:
    """Decode the manifest of a snapshot.

    Args:
        raw: its bytes.
        version: what it must be of.
        file_names: what it must list, all of them and no other.

    Raises:
        VersionError: it cannot be read, or is another's.
    """
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VersionError("manifest", f"manifest of {version} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise VersionError("format", f"{version} has format {manifest.format}, this code reads {FORMAT}; upgrade it")
    if manifest.version != version:
        raise VersionError("manifest", f"the directory {version} holds the manifest of {manifest.version!r:.80}")
    if set(manifest.files) != set(file_names):
        raise VersionError("files", f"{version} lists the files {sorted(manifest.files)}, not those of the layout")
    if not np.isfinite(manifest.canary_scores).all():
        raise VersionError("not_finite", f"{version} expects canary scores that are not finite")
    return manifest
