"""The entries of the batch log: all that the weights are a function of, beside the samples themselves.

An entry is a JSON object whose `type` says what it is. Records of topics are named by offsets, never copied; only what
ops and the quality job said is, because their topics may forget it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from trainer.gaps import Gap
from trainer.sample_log import LogRecord


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Records of one partition that follow each other in a batch."""

    name: str
    """`topic:partition`."""
    first: int
    end: int
    count: int
    """Fewer than `end - first` where compaction had taken some already."""
    crc: int
    """Of keys and values: other records at the same offsets are noticed."""


class HoldRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a profile or an order says, as far as it decides."""

    topic: str
    partition: int
    offset: int
    value: str


class StartEntry(msgspec.Struct, frozen=True, tag="start"):
    """A trainer began here."""

    epoch: int
    config_hash: str
    environment: dict[str, str]
    """What sums depend on: thread count, device, torch version."""
    topic_ids: dict[str, str]


class BaseEntry(msgspec.Struct, frozen=True, tag="base"):
    """The log begins on a history (`trainer.history`): its checkpoint is needed to follow these entries."""

    digest: str
    live_from_ms: int
    offsets: dict[str, int]
    """Of the samples' partitions, where they held the first record from then on."""


class BatchEntry(msgspec.Struct, frozen=True, tag="batch"):
    """One micro-batch: its records, in the order in which they are learnt."""

    runs: list[Run]
    clock_ms: int = 0
    """How far all partitions have come, see `LearntOnce.advance`."""


class ReleasedEntry(msgspec.Struct, frozen=True, tag="released"):
    """One micro-batch of a window that was let go."""

    window_start_ms: int
    run: Run
    lost: int


class HoldsEntry(msgspec.Struct, frozen=True, tag="holds"):
    """Profiles and orders took effect."""

    records: list[HoldRecord]
    offsets: dict[str, int]


class CutEntry(msgspec.Struct, frozen=True, tag="cut"):
    """A version was cut behind the entries before this one."""

    version: str
    parent_version: str
    time_ms: int
    is_whole: bool = True
    """A snapshot that opens a chain; else a delta."""
    gate_reason: str = ""
    """Why the gate held it; empty where it passed."""


class RejectEntry(msgspec.Struct, frozen=True, tag="reject"):
    """Ops rejected a held version: the learner stands where a checkpoint stood; what came since teaches nothing."""

    version: str
    """What was held."""
    position: int
    """Number of the first entry that is not in the checkpoint; samples of it and all up to this one are skipped."""


class PurgeEntry(msgspec.Struct, frozen=True, tag="purge"):
    """Ops purged a window: the learner stands where a checkpoint stood, and what came since is learnt without it."""

    start_ms: int
    end_ms: int
    position: int
    """Number of the first entry that is not in the checkpoint."""


class GapEntry(msgspec.Struct, frozen=True, tag="gap"):
    """A topic lacked something."""

    gap: Gap


Entry = (
    StartEntry | BaseEntry | BatchEntry | ReleasedEntry | HoldsEntry | CutEntry | RejectEntry | PurgeEntry | GapEntry
)

_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """Encode as one line of JSON without its end."""
    return msgspec.json.encode(entry)


def decode_entry(raw: bytes) -> Entry:
    """Decode an entry.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decoder.decode(raw)


def runs_of(records: Sequence[LogRecord]) -> list[Run]:
    """Return where records lie, in their order."""
    runs: list[Run] = []
    begin = 0
    for index in range(1, len(records) + 1):
        if index == len(records) or not _follows(records[index - 1], records[index]):
            run = records[begin:index]
            runs.append(run_of(run, run[0].name, run[0].offset, run[-1].offset + 1))
            begin = index
    return runs


def run_of(records: Sequence[LogRecord], name: str, first: int, end: int) -> Run:
    """Return a range of one partition and what was found in it."""
    crc = 0
    for record in records:
        crc = zlib.crc32(record.value or b"", zlib.crc32(record.key or b"", crc))
    return Run(name, first, end, len(records), crc)


def _follows(before: LogRecord, record: LogRecord) -> bool:
    return before.topic == record.topic and before.partition == record.partition and record.offset > before.offset
