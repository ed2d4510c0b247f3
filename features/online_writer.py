"""The one writer of the online store: rows, consumed sets and Kafka offsets in one Redis transaction.

Two keys keep the writer single and the offsets honest:
- `headrace:<name>:ingester`, a hash: `epoch` (which claim), `round` (its last write), `noted` (the last one that the
  journal has), `version` (of its rows), `owner`, `unlogged` (an open gap of the feature log), `closed:<epoch>` (`noted`
  of a former claim), `columns` (`features/column_fingerprint.py`) and the next offset to read of every
  `topic:partition`. Every write watches it, so a write of a
  former owner, or one that hung in a paused Redis, is refused by Redis itself. Offsets lie beside the rows they cover:
  whatever Redis forgets (a crash, a flush), the offsets go back with it and the rows are read again. They stand for
  rows of these columns: a writer of others drops them with its claim, and the topics, which have the newest row of
  every key, are read from their beginning.
- `headrace:<name>:ingester:alive`, a string with an expiry: a second ingester waits while the first one lives.

All rows of a transaction have one version, Feast's event timestamp: the clock when it was sent, strictly above the last
one. So versions rise for every key, need no read-back, and say when the server could read the row.

One write, in this order:
    1. watch the claim; compare epoch and round with what this writer wrote last
    2. stamp the rows and note them in the journal, with a round number of their own (`features/feature_log.py`)
    3. rows, consumed sets, offsets, round and version in one MULTI/EXEC
A lost answer leaves open whether 3 happened: the next try finds its round in the store, or it did not happen.
Step 1 of a write travels with step 3 of the one before, and the ingester reads the answers of 3 only when the next rows
are ready (`start_write`, `write`): at most one write is open, and Redis works while rows are decoded.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis import ConnectionError as RedisConnectionError
from redis import RedisError, WatchError

from features.config import FeaturesConfig
from features.consumed_items import consumed_commands
from features.errors import StoreLostError, TakenOverError, WentBackError
from features.feast_rows import EncodedRow, FeastRows, version_argument
from features.feature_topics import FeatureRow, FeatureTopic
from features.process_identity import can_be_running, process_identity
from features.redis_channel import EXEC, MULTI, RedisChannel, check_executed, pack_command

ALIVE_MS = 5000
"""A silent owner is replaced after this; a dead one on the same machine at once."""
_CLOSED = "closed:"
MAX_CLOSED_EPOCHS = 64
"""Last rounds of former claims that are kept, for journals that are read back late."""
_TIME = pack_command("TIME")
_OWN_FIELDS = ("epoch", "round", "noted", "version", "owner", "unlogged", "columns")


@dataclass(frozen=True)
class Claim:
    """What the store says of its writer."""

    epoch: int
    round: int
    offsets: Mapping[str, int]
    """`topic:partition` -> next offset to read."""
    noted_rounds: Mapping[int, Set[int]] = field(default_factory=dict)
    """Former epoch -> rounds of it that reached the store, the last noted one among them."""
    unlogged: str = ""
    """The gap in the feature log that was open when the former writer ended."""


@dataclass(frozen=True)
class PreparedRows:
    """Rows of one transaction, ready but for their version."""

    rows: Sequence[EncodedRow]
    commands: Sequence[bytes]
    """What stands before, between and behind the version of every row."""
    num_commands: int
    packed: bytes
    """What the journal notes; empty where there is none."""


@dataclass(frozen=True)
class RowBatch:
    """Rows that are written together."""

    num_rows: int
    packed: bytes
    """The rows as `Journal.pack` made them."""
    epoch: int
    round: int
    """A number of its own for every try; one that is never used again."""
    noted_round: int
    """The newest round of this epoch that is both in the store and in the journal."""
    version_ms: int


class Journal(Protocol):
    """Notes what is about to be written online."""

    def pack(self, rows: Sequence[EncodedRow]) -> bytes:
        """Return rows as the journal keeps them."""

    def note(self, batch: RowBatch) -> str:
        """Note a batch; return the open gap as text, empty where all is noted."""


def next_version_ms(last_ms: int, now_ms: int) -> int:
    """Return the version of the next transaction: the clock, strictly above the last version."""
    return max(last_ms + 1, now_ms)


def clock_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class _Try:
    """A write whose answer did not come."""

    offsets: Mapping[str, int]
    is_noted: bool


class OnlineWriter:
    """Writes rows to Redis, alone.

    Args:
        client: a `redis.Redis` of its own, `decode_responses` off; its timeouts bound each call.
        rows: the layout of rows.
        name: the app's name.
        consumed_limit: items kept per user in the consumed set.
        columns: fingerprint of the columns that rows are written with.
        identity: of this process.
        journal: notes what is written; None where nothing is logged.
        now_ms: wall clock.
    """

    def __init__(
        self,
        client: Any,
        rows: FeastRows,
        name: str,
        consumed_limit: int,
        columns: str,
        identity: str | None = None,
        journal: Journal | None = None,
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        self._channel = RedisChannel(client)
        self._rows = rows
        self._name = name
        self._consumed_limit = consumed_limit
        self._columns = columns
        self._identity = identity or process_identity()
        self._journal = journal
        self._now_ms = now_ms
        self._claim_key = f"headrace:{name}:ingester"
        self._alive_key = f"headrace:{name}:ingester:alive"
        self._watch = pack_command("WATCH", self._claim_key)
        self._read_claim = pack_command("HMGET", self._claim_key, "epoch", "round")
        self._epoch = self._round = self._noted_round = self._newest_try = 0
        self._version_ms = self._logged_epoch = 0
        self._exchange_ms = 0.0
        self._open_tries: dict[int, _Try] = {}
        self._started_round = 0
        self._is_watching = False

    @property
    def is_settled(self) -> bool:
        """Whether it is known of every try if it reached the store."""
        return not self._open_tries

    @property
    def noted_round(self) -> int:
        """The newest round of this claim that is known to be both in the store and in the journal."""
        return self._noted_round

    @property
    def exchange_ms(self) -> float:
        """How long Redis had to do with the last transaction, by its own clock: at least as long as it was held."""
        return self._exchange_ms

    def rise_above(self, version_ms: int, epoch: int) -> None:
        """Never write a version, or claim an epoch, at or below these; for what only the feature log remembers."""
        self._version_ms = max(self._version_ms, version_ms)
        self._logged_epoch = max(self._logged_epoch, epoch)

    def try_claim(self) -> Claim | None:
        """Become the writer, or return None while another one lives.

        Raises:
            redis.RedisError: the store does not answer.
        """
        self._forget_started()
        _, _, alive, fields = self._channel.ask(
            pack_command("UNWATCH"),  # Else what a former claim watched would refuse this one.
            pack_command("WATCH", self._claim_key, self._alive_key),
            pack_command("GET", self._alive_key),
            pack_command("HGETALL", self._claim_key),
        )
        owner = (alive or b"").decode()
        if owner not in ("", self._identity) and can_be_running(owner):
            self._channel.ask(pack_command("UNWATCH"))
            return None
        stored = dict(zip(map(bytes.decode, fields[::2]), map(bytes.decode, fields[1::2]), strict=True))
        stale = _offset_fields(stored) if stored.get("columns", "") != self._columns else []
        # A flushed store starts at 0: go on above this writer's own epoch, and above those in the log.
        epoch = max(int(stored.get("epoch", 0)), self._epoch, self._logged_epoch) + 1
        try:
            self._channel.transact(*self._claim_commands(epoch, stored, stale))
        except WatchError:
            return None
        for name in stale:
            del stored[name]
        claim = _claim_from(epoch, stored, {self._epoch: {self._noted_round, *self._untold_rounds(stored)}})
        self._epoch, self._round, self._noted_round, self._newest_try = epoch, 0, 0, 0
        self._version_ms = max(self._version_ms, int(stored.get("version", 0)))
        self._open_tries.clear()
        return claim

    def _untold_rounds(self, stored: Mapping[str, str]) -> Set[int]:
        """Return the try that a store which went back cannot tell of; earlier ones of the same rows did not happen."""
        has_gone_back = (int(stored.get("epoch", 0)), int(stored.get("round", 0))) < (self._epoch, self._round)
        return {max(self._open_tries)} if has_gone_back and self._open_tries else set()

    def _claim_commands(self, epoch: int, stored: Mapping[str, str], stale: Sequence[str]) -> list[bytes]:
        mine = ("epoch", epoch, "round", 0, "noted", 0, "owner", self._identity, "columns", self._columns)
        commands = [
            pack_command("HSET", self._claim_key, *mine),
            pack_command("SET", self._alive_key, self._identity, "PX", ALIVE_MS),
        ]
        if "epoch" in stored:
            closed = f"{_CLOSED}{stored['epoch']}"
            commands.append(pack_command("HSET", self._claim_key, closed, stored.get("noted", "0")))
        if stale:
            commands.append(pack_command("HDEL", self._claim_key, *stale))
        old = [name for name in stored if name.startswith(_CLOSED)]
        if len(old) >= MAX_CLOSED_EPOCHS:
            oldest = min(old, key=lambda name: int(name.removeprefix(_CLOSED)))
            commands.append(pack_command("HDEL", self._claim_key, oldest))
        return commands

    def beat(self) -> None:
        """Tell other ingesters that this one lives; call it about once a second.

        Raises:
            StoreLostError: see `write_rows`.
            redis.RedisError: the store does not answer.
        """
        self._check_claim()
        self._send(pack_command("SET", self._alive_key, self._identity, "PX", ALIVE_MS))
        try:
            self._receive(1)
        except WatchError as error:
            self._check_claim()
            raise _claim_changed() from error

    def release(self) -> None:
        """Let the next ingester start at once."""
        self._forget_started()
        with contextlib.suppress(StoreLostError, RedisError):
            self._check_claim()
            self._channel.transact(pack_command("DEL", self._alive_key))
        self._channel.close()

    def encode(self, row: FeatureRow) -> EncodedRow:
        """Return the bytes of a row, as far as they do not depend on when it is written."""
        return self._rows.encode(row)

    def encode_record(self, entry: FeatureTopic, record: Any, config: FeaturesConfig) -> EncodedRow:
        """Return the bytes of a record's row.

        Raises:
            BadRowError: it is no row of this view.
        """
        return self._rows.encode_record(entry, record, config)

    def prepare(self, rows: Sequence[EncodedRow]) -> PreparedRows:
        """Make one transaction of rows, at most one per view and entity."""
        commands = []
        num_commands = len(rows)
        between = b""
        for row in rows:
            commands.append(between + row.head)
            between = row.tail
            if row.consumed.num_items:
                between += consumed_commands(self._name, row.entity_id, row.consumed, self._consumed_limit)
                num_commands += 2
        commands.append(between)
        packed = self._journal.pack(rows) if self._journal is not None and rows else b""
        return PreparedRows(rows, commands, num_commands, packed)

    def write_rows(self, rows: Sequence[FeatureRow], offsets: Mapping[str, int]) -> None:
        """Write rows and wait; see `write`."""
        self.write(self.prepare([self.encode(row) for row in rows]), offsets)

    def start_write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Send rows and the offsets behind them; the same must be given to `write` before anything else is done.

        Raises:
            TakenOverError, WentBackError, redis.RedisError: as `write`.
        """
        landed = self._check_claim()
        if landed is not None and landed.offsets == offsets:
            return  # An earlier try of these rows, whose answer was lost.
        self._newest_try += 1
        round_ = self._newest_try
        self._version_ms = next_version_ms(self._version_ms, self._now_ms())
        fields: list[str | int] = ["round", round_, "version", self._version_ms]
        is_noted = False
        if self._journal is not None and prepared.rows:
            batch = RowBatch(
                len(prepared.rows), prepared.packed, self._epoch, round_, self._noted_round, self._version_ms
            )
            gap = self._journal.note(batch)
            is_noted = not gap
            fields += ["unlogged", gap, *(("noted", round_) if is_noted else ())]
        fields += [part for name_and_offset in offsets.items() for part in name_and_offset]
        self._open_tries[round_] = _Try(dict(offsets), is_noted)
        rows = version_argument(self._version_ms).join(prepared.commands)
        self._send(rows, pack_command("HSET", self._claim_key, *fields))
        self._started_round = round_

    def write(self, prepared: PreparedRows, offsets: Mapping[str, int]) -> None:
        """Wait until rows are written that were started; start them where they were not, or where that failed.

        Raises:
            TakenOverError: another writer claimed the store; nothing was written.
            WentBackError: the store lost earlier writes; nothing was written.
            redis.RedisError: the store does not answer; whether it has written is open, and writing again is safe.
        """
        if not self._started_round:
            self.start_write(prepared, offsets)
        round_, self._started_round = self._started_round, 0
        if not round_:
            return
        try:
            self._receive(prepared.num_commands + 1, round_)
        except WatchError as error:
            landed = self._check_claim()
            if landed is None or landed.offsets != offsets:
                raise _claim_changed() from error

    def _send(self, *commands: bytes) -> None:
        """Send a transaction that happens if the claim is as it was checked, and behind it the check of the next one.

        The clock of Redis before and behind it tells how long it took there.
        """
        self._is_watching = False
        self._channel.send(_TIME, MULTI, *commands, EXEC, _TIME, self._watch, self._read_claim)

    def _receive(self, num_commands: int, round_: int = 0) -> None:
        """Wait for the answers to `_send`.

        Raises:
            redis.WatchError: the claim changed; nothing was done.
            redis.RedisError: the store did not answer, or refused a command.
        """
        started, *_, executed, ended, _, claim = self._channel.receive(num_commands + 6)
        check_executed(executed)
        self._exchange_ms = (_microseconds(ended) - _microseconds(started)) / 1000
        if round_:
            self._confirm(round_)
        self._is_watching = _numbers(claim) == (self._epoch, self._round)

    def _forget_started(self) -> None:
        """Drop a write whose answers nobody will read: whether it happened is as open as that of a lost answer."""
        self._is_watching = False
        if self._started_round:
            self._started_round = 0
            self._channel.close()

    def _check_claim(self) -> _Try | None:
        """Watch the claim and compare it; return the try that turns out to have reached the store, if one did."""
        if self._is_watching:
            return None
        _, claim = self._channel.ask(self._watch, self._read_claim)
        epoch, round_ = _numbers(claim)
        if epoch > self._epoch:
            raise TakenOverError(f"another ingester claimed the store (epoch {epoch}, this one has {self._epoch})")
        landed = self._open_tries.get(round_)
        if (epoch, round_) != (self._epoch, self._round) and (epoch < self._epoch or landed is None):
            raise WentBackError(
                f"the store is at {epoch}.{round_}, this writer had written {self._epoch}.{self._round}"
            )
        if landed is not None:
            self._confirm(round_)
        return landed

    def _confirm(self, round_: int) -> None:
        self._round = round_
        if self._open_tries[round_].is_noted:
            self._noted_round = round_
        self._open_tries.clear()


def _claim_changed() -> RedisConnectionError:
    # Only another claim, or an answer of ours that was thought lost, touches the watched key.
    return RedisConnectionError("the claim changed while writing; trying again")


def _numbers(answer: Sequence[bytes | None]) -> tuple[int, int]:
    """Return two numbers of Redis' answer, 0 where there is none."""
    first, second = answer
    return int(first or 0), int(second or 0)


def _microseconds(time: Sequence[bytes]) -> int:
    """Return the answer to TIME."""
    seconds, microseconds = _numbers(time)
    return seconds * 1_000_000 + microseconds


def _offset_fields(stored: Mapping[str, str]) -> list[str]:
    return [name for name in stored if name not in _OWN_FIELDS and not name.startswith(_CLOSED)]


def _claim_from(epoch: int, stored: Mapping[str, str], noted_rounds: dict[int, set[int]]) -> Claim:
    """Sort the fields of a claim hash as it was before this claim; add them to the rounds that the claimant knows."""
    former = {name.removeprefix(_CLOSED): value for name, value in stored.items() if name.startswith(_CLOSED)}
    if "epoch" in stored:
        former[stored["epoch"]] = stored.get("noted", "0")
    for former_epoch, round_ in former.items():
        noted_rounds.setdefault(int(former_epoch), set()).add(int(round_))
    offsets = {name: int(stored[name]) for name in _offset_fields(stored)}
    return Claim(epoch, 0, offsets, noted_rounds, stored.get("unlogged", ""))
