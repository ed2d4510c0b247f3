"""Checkpoints: the learner, the offsets it stands at and the version it published last, in one atomic directory.

A checkpoint is `arrays.safetensors`, `names.json` and `checkpoint.json`, which holds the digests of the other two.
No pickle: everything is an array, a string or a number.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.durable_files import delete_directory, remove_leftovers, write_directory
from trainer.errors import CheckpointError
from trainer.learner import LearnerState, Progress

FORMAT = 1
_ARRAYS, _NAMES, _HEADER = "arrays.safetensors", "names.json", "checkpoint.json"
_METRICS = "metrics"
"""Part of the header, with a digest of its own."""
_NAME_PATTERN = re.compile(r"[0-9]{12}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where the trainer stands."""

    state: LearnerState
    offsets: dict[str, int]
    """`topic:partition` -> next offset to read."""
    config_hash: str
    last_version: str
    """The newest version published before it, `EPOCH.SEQ`; empty when there was none."""
    holds: dict[str, Any] = field(default_factory=dict)
    """Held windows and where their samples lie, see `trainer.holds`."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    sha256: dict[str, str]
    offsets: dict[str, int]
    config_hash: str
    last_version: str
    progress: dict[str, Any]
    metrics: msgspec.Raw
    holds: dict[str, Any] = {}


class CheckpointStore:
    """The checkpoints of one trainer, named by rising number.

    Args:
        directory: where they lie; this process must be its only writer.
        keep: how many newest ones stay.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self._directory = directory
        self._keep = keep
        remove_leftovers(directory)

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint and delete the oldest beyond `keep`.

        Raises:
            OSError: the disk refuses; the ones before it stay.
        """
        names = self._names()
        target = self._directory / f"{int(names[-1]) + 1 if names else 1:012d}"
        write_directory(target, _files_of(checkpoint))
        for name in names[: max(0, len(names) + 1 - self._keep)]:
            delete_directory(self._directory / name)
        return target

    def read_newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies, None where there is none at all.

        Raises:
            CheckpointError: there are checkpoints, and every one of them is bad.
        """
        names = self._names()
        for name in reversed(names):
            try:
                return read_checkpoint(self._directory / name)
            except CheckpointError as error:
                logger.error("checkpoint refused, trying the one before: %s", error)
        if names:
            raise CheckpointError(
                f"none of the {len(names)} checkpoints in {self._directory} verifies; "
                "move the directory away to learn anew from the start of the log"
            )
        return None

    def set_aside(self) -> Path:
        """Rename the directory, so that a new start begins empty and nothing is lost; return the new place."""
        number = 1
        while (aside := self._directory.with_name(f"{self._directory.name}.old-{number}")).exists():
            number += 1
        self._directory.rename(aside)
        return aside

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(entry.name for entry in self._directory.iterdir() if _NAME_PATTERN.fullmatch(entry.name))


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: a file is missing, torn or changed.
    """
    try:
        header = msgspec.json.decode((directory / _HEADER).read_bytes(), type=_Header)
        data = {name: (directory / name).read_bytes() for name in (_ARRAYS, _NAMES)}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{directory.name} cannot be read: {error}") from error
    if header.format != FORMAT:
        raise CheckpointError(f"{directory.name} has format {header.format}, this code reads {FORMAT}")
    for name, content in {**data, _METRICS: bytes(header.metrics)}.items():
        if hashlib.sha256(content).hexdigest() != header.sha256.get(name):
            raise CheckpointError(f"{directory.name}/{name} is not what was written: its sha256 differs")
    try:
        arrays: dict[str, NDArray[Any]] = load(data[_ARRAYS])
        names = msgspec.json.decode(data[_NAMES], type=dict[str, list[str]])
        progress = msgspec.convert(header.progress, Progress)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{directory.name} cannot be decoded: {error}") from error
    state = LearnerState(arrays, names, progress, bytes(header.metrics))
    return Checkpoint(state, header.offsets, header.config_hash, header.last_version, header.holds)


def _files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    state = checkpoint.state
    files = {_ARRAYS: save(state.arrays), _NAMES: msgspec.json.encode(state.names)}
    header = _Header(
        format=FORMAT,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in (*files.items(), (_METRICS, state.metrics))},
        offsets=checkpoint.offsets,
        config_hash=checkpoint.config_hash,
        last_version=checkpoint.last_version,
        progress=asdict(state.progress),
        metrics=msgspec.Raw(state.metrics),
        holds=checkpoint.holds,
    )
    return {**files, _HEADER: msgspec.json.encode(header)}
