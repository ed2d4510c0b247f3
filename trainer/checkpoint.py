"""Checkpoints: the learner, the place in the batch log at which it stands, offsets and holds, in one atomic directory.

A checkpoint is `arrays.safetensors`, `names.json`, `checkpoint.json`, which holds the digests of these two, and
`checkpoint.sha256`, its own: no bit of it can change unnoticed.
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

from trainer.durable_files import delete_directory, move_aside, remove_leftovers, write_directory
from trainer.errors import CheckpointError, CheckpointFormatError
from trainer.learner_state import LearnerState, Progress

FORMAT = 5
_ARRAYS, _NAMES, _HEADER, _DIGEST = "arrays.safetensors", "names.json", "checkpoint.json", "checkpoint.sha256"
_FORMAT_WITHOUT_DIGEST = 1
_NAME_PATTERN = re.compile(r"[0-9]{12}")
_BAD_PREFIX = "bad-"
_RUNG_MS = 900_000
_KEPT_BAD = 2
"""Bad checkpoints kept to be looked at."""

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
    position: int = 0
    """Number of the first entry of the batch log that is not in it."""
    epoch: int = 0
    """Of the newest start."""
    cuts: int = 0
    """Versions cut so far."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Of the topics that `offsets` belong to."""
    environment: dict[str, str] = field(default_factory=dict)
    """What sums depend on, see `StartEntry`."""
    gaps: dict[str, Any] = field(default_factory=dict)
    """What topics lacked so far, see `trainer.gaps`."""
    base: dict[str, Any] = field(default_factory=dict)
    """What was learnt from files before the topics, see `trainer.history`; empty where nothing was."""
    gate: dict[str, Any] = field(default_factory=dict)
    """What was good and what is held, see `trainer.gate`; empty where nobody ever asked."""
    quarantine: dict[str, Any] = field(default_factory=dict)
    """What must never have been learnt, see `trainer.quarantine`."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    sha256: dict[str, str]
    offsets: dict[str, int]
    config_hash: str
    last_version: str
    progress: dict[str, Any]
    metrics: msgspec.Raw
    holds: dict[str, Any] = {}
    position: int
    epoch: int
    cuts: int
    topic_ids: dict[str, str]
    environment: dict[str, str]
    gaps: dict[str, Any]
    base: dict[str, Any] = {}
    gate: dict[str, Any] = {}
    quarantine: dict[str, Any] = {}


class _FormatProgress(msgspec.Struct):
    newest_broker_time_ms: int = 0


class _Format(msgspec.Struct):
    format: int = 0
    position: int = 0
    cuts: int = 0
    progress: _FormatProgress = msgspec.field(default_factory=_FormatProgress)

    @property
    def newest_ms(self) -> int:
        """Newest broker time of what was learnt."""
        return self.progress.newest_broker_time_ms


class CheckpointStore:
    """The checkpoints of one trainer, named by rising number.

    Args:
        directory: where they lie; this process must be its only writer.
        keep: how many newest ones stay.
        reach_ms: how far back a purge can go; older ones stay for it, ever fewer the older they are.
    """

    def __init__(self, directory: Path, keep: int, reach_ms: int = 0) -> None:
        self._directory = directory
        self._keep = keep
        self._reach_ms = reach_ms
        self._formats: dict[str, _Format] = {}
        self.refused: list[str] = []
        """Why checkpoints were not resumed from."""
        remove_leftovers(directory)

    def write(self, checkpoint: Checkpoint, good_cut: int = 0) -> Path:
        """Write a checkpoint and delete the oldest beyond `keep`.

        Args:
            checkpoint: what is written.
            good_cut: number of a version's cut; the newest checkpoint before it stays, as a rejection goes back there,
                and so does the next one, which takes its place once a later cut is good.

        Raises:
            OSError: the disk refuses; the ones before it stay.
        """
        target = self._next()
        write_directory(target, _files_of(checkpoint))
        names = self._names()
        behind = sum(self._format_of(name).cuts < good_cut for name in names)
        way_back = names[max(0, behind - 1) : behind + 1] if good_cut else []
        kept = {*names[-self._keep :], *way_back, *self._ladder(names)}
        for name in names:
            if name not in kept:
                delete_directory(self._directory / name)
        return target

    def has_before(self, good_cut: int) -> bool:
        """Say whether there is a checkpoint before a version's cut."""
        return any(self._format_of(name).cuts < good_cut for name in self._names())

    def newest_before(self, good_cut: int) -> int | None:
        """Return the place in the batch log of the newest checkpoint before a cut that verifies; None without one."""
        for name in reversed(self._names()):
            try:
                if self._format_of(name).cuts < good_cut:
                    return read_checkpoint(self._directory / name).position
            except CheckpointError as error:
                logger.error("not gone back to: %s", error)
        return None

    def newest_untouched(self, start_ms: int) -> int | None:
        """Return the place in the batch log of the newest checkpoint that verifies and has learnt nothing since a time.

        Args:
            start_ms: broker time.
        """
        for name in reversed(self._names()):
            try:
                if self._format_of(name).newest_ms < start_ms:
                    return read_checkpoint(self._directory / name).position
            except CheckpointError as error:
                logger.error("not gone back to: %s", error)
        return None

    def _ladder(self, names: list[str]) -> list[str]:
        """Return the checkpoints that a purge may go back to: the first one of a quarter of an hour of broker time.

        Of quarters long ago only those stay whose number many twos divide, so that steps double with their age.
        """
        if not self._reach_ms or not names:
            return []
        now = self._format_of(names[-1]).newest_ms
        firsts: dict[int, str] = {}
        for name in names:
            form = self._format_of(name)
            if form.newest_ms >= now - self._reach_ms and form.format:
                firsts.setdefault(form.newest_ms // _RUNG_MS, name)
        age_of = {rung: now // _RUNG_MS - rung for rung in firsts}
        return [name for rung, name in firsts.items() if age_of[rung] < 2 * (rung & -rung or 1) or rung == 0]

    def read_at(self, position: int) -> Checkpoint:
        """Return the newest checkpoint that stands at a place in the batch log.

        Raises:
            CheckpointError: there is none, or it is bad.
        """
        for name in reversed(self._names()):
            if self._format_of(name).position == position:
                return read_checkpoint(self._directory / name)
        raise CheckpointError(
            f"the checkpoint at entry {position}, to which a rejection goes back, is not in {self._directory}; put it"
            " back, or move the directories away to learn anew"
        )

    def forget_between(self, first: int, end: int) -> None:
        """Delete checkpoints that stand behind `first` and not behind `end`: what they learnt was rejected."""
        for name in self._names():
            if first < self._format_of(name).position <= end:
                delete_directory(self._directory / name)

    def write_first(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint that owes nothing to those before it, prove it, and set those aside.

        Raises:
            OSError: the disk refuses; the ones before it stay.
            CheckpointError: what was written does not verify; likewise.
        """
        others = [*self._names(), *self._bad_names()]
        target = self._next()
        write_directory(target, _files_of(checkpoint))
        try:
            read_checkpoint(target)
        except CheckpointError:
            delete_directory(target)
            raise
        if others:
            move_aside(self._directory, others)
        return target

    def _next(self) -> Path:
        numbers = [int(name.removeprefix(_BAD_PREFIX)) for name in (*self._names(), *self._bad_names())]
        return self._directory / f"{max(numbers, default=0) + 1:012d}"

    def read_newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies, None where there is none at all.

        Raises:
            CheckpointError: there are checkpoints, and every one of them is bad.
            CheckpointFormatError: the newest is of another version of this code.
        """
        names = self._names()
        for name in reversed(names):
            try:
                return read_checkpoint(self._directory / name)
            except CheckpointFormatError:
                raise
            except CheckpointError as error:
                self._refuse(name, error)
        if names or self._bad_names():
            raise CheckpointError(
                f"none of the {len(names) + len(self._bad_names())} checkpoints in {self._directory} verifies; "
                "move the directory away to learn anew from the batch log or the start of the topics"
            )
        return None

    def oldest_position(self) -> int:
        """Return the place in the batch log from which the oldest checkpoint goes on; 0 where that cannot be told."""
        names = self._names()
        if not names:
            return 0
        self._formats.pop(names[0], None)  # As it is on disk now: one that went bad must not let the log go.
        return self._format_of(names[0]).position

    def _format_of(self, name: str) -> _Format:
        """Return the beginning of a header, read once; of a bad one nothing, which is before everything."""
        if name not in self._formats:
            try:
                self._formats[name] = msgspec.json.decode(_read_header(self._directory / name), type=_Format)
            except CheckpointError:
                return _Format()
        return self._formats[name]

    def _refuse(self, name: str, error: CheckpointError) -> None:
        """Say that a checkpoint is bad, and move it out of the count of those kept."""
        logger.error("checkpoint refused, trying the one before: %s", error)
        self.refused.append(str(error))
        bad = self._directory / f"{_BAD_PREFIX}{name}"
        try:
            delete_directory(bad)
            (self._directory / name).rename(bad)
            for old in self._bad_names()[:-_KEPT_BAD]:
                delete_directory(self._directory / old)
        except OSError as problem:
            logger.warning("the bad checkpoint stays where it is: %s", problem)

    def _names(self) -> list[str]:
        return [name for name in self._entries() if _NAME_PATTERN.fullmatch(name)]

    def _bad_names(self) -> list[str]:
        return [name for name in self._entries() if name.startswith(_BAD_PREFIX)]

    def _entries(self) -> list[str]:
        return sorted(entry.name for entry in self._directory.iterdir()) if self._directory.is_dir() else []


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: a file is missing, torn or changed.
        CheckpointFormatError: it is of another version of this code.
    """
    raw = _read_header(directory)
    try:
        header = msgspec.json.decode(raw, type=_Header)
        data = {name: (directory / name).read_bytes() for name in (_ARRAYS, _NAMES)}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{directory.name} cannot be read: {error}") from error
    for name, content in data.items():
        if hashlib.sha256(content).hexdigest() != header.sha256.get(name):
            raise CheckpointError(f"{directory.name}/{name} is not what was written: its sha256 differs")
    try:
        arrays: dict[str, NDArray[Any]] = load(data[_ARRAYS])
        names = msgspec.json.decode(data[_NAMES], type=dict[str, list[str]])
        progress = msgspec.convert(header.progress, Progress)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{directory.name} cannot be decoded: {error}") from error
    state = LearnerState(arrays, names, progress, bytes(header.metrics))
    return Checkpoint(
        state=state,
        offsets=header.offsets,
        config_hash=header.config_hash,
        last_version=header.last_version,
        holds=header.holds,
        position=header.position,
        epoch=header.epoch,
        cuts=header.cuts,
        topic_ids=header.topic_ids,
        environment=header.environment,
        gaps=header.gaps,
        base=header.base,
        gate=header.gate,
        quarantine=header.quarantine,
    )


def _read_header(directory: Path) -> bytes:
    """Return the header of this code's format, verified."""
    try:
        raw = (directory / _HEADER).read_bytes()
        form = msgspec.json.decode(raw, type=_Format)
        digest = None if _is_before_digests(directory, form) else (directory / _DIGEST).read_bytes()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{directory.name} cannot be read: {error}") from error
    if digest is not None and hashlib.sha256(raw).hexdigest().encode() != digest:
        raise CheckpointError(f"{directory.name}/{_HEADER} is not what was written: its sha256 differs")
    if form.format != FORMAT:
        raise CheckpointFormatError(f"{directory.name} has format {form.format}, this code reads {FORMAT}")
    return raw


def _is_before_digests(directory: Path, form: _Format) -> bool:
    """Say whether this is a checkpoint of the first format; one whose format bit flipped still has its digest."""
    return form.format == _FORMAT_WITHOUT_DIGEST and not (directory / _DIGEST).exists()


def _files_of(checkpoint: Checkpoint) -> dict[str, bytes]:
    state = checkpoint.state
    files = {_ARRAYS: save(state.arrays), _NAMES: msgspec.json.encode(state.names)}
    header = _Header(
        format=FORMAT,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        offsets=checkpoint.offsets,
        config_hash=checkpoint.config_hash,
        last_version=checkpoint.last_version,
        progress=asdict(state.progress),
        metrics=msgspec.Raw(state.metrics),
        holds=checkpoint.holds,
        position=checkpoint.position,
        epoch=checkpoint.epoch,
        cuts=checkpoint.cuts,
        topic_ids=checkpoint.topic_ids,
        environment=checkpoint.environment,
        gaps=checkpoint.gaps,
        base=checkpoint.base,
        gate=checkpoint.gate,
        quarantine=checkpoint.quarantine,
    )
    raw = msgspec.json.encode(header)
    return {**files, _HEADER: raw, _DIGEST: hashlib.sha256(raw).hexdigest().encode()}
