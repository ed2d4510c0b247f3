"""The one writer of the online store: rows, consumed sets and Kafka offsets in one Redis transaction.

Two keys keep the writer single and the offsets honest:
- `headrace:<name>:ingester`, a hash: `epoch` (which claim), `round` (how many writes), `owner`, and the next offset to
  read of every `topic:partition`. Every write watches it and adds one round, so a write of a former owner, or one that
  hung in a paused Redis, is refused by Redis itself. Offsets lie beside the rows they cover: whatever Redis forgets (a
  crash, a flush), the offsets go back with it and the rows are read again.
- `headrace:<name>:ingester:alive`, a string with an expiry: a second ingester waits while the first one lives.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from redis import ConnectionError as RedisConnectionError
from redis import RedisError, WatchError

from features.consumed_items import queue_consumed
from features.errors import StoreLostError, TakenOverError, WentBackError
from features.feast_rows import FeastRows, decode_version, version_field
from features.feature_topics import FeatureRow

ALIVE_MS = 5000
"""A silent owner is replaced after this; a dead one on the same machine at once."""
MAX_CACHED_VERSIONS = 200_000
"""About 40 MB; versions beyond are read back from Redis when their key comes again."""


@dataclass(frozen=True)
class Claim:
    """What the store says of its writer."""

    epoch: int
    round: int
    offsets: Mapping[str, int]
    """`topic:partition` -> next offset to read."""


def next_version_ms(last_ms: int, record_time_ms: int) -> int:
    """Return the version of the next row of a key: Kafka's time of the record, strictly above the last one."""
    return max(last_ms + 1, record_time_ms)


def process_identity() -> str:
    """Return `host/pid/start time` of this process: a recycled pid is another identity."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def can_be_running(identity: str) -> bool:
    """Say whether the process named by `identity` may be alive; of other machines nothing is known, so yes."""
    host, _, process = identity.partition("/")
    pid, _, start_time = process.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == start_time
    except psutil.NoSuchProcess:
        return False


class OnlineWriter:
    """Writes rows to Redis, alone.

    Args:
        client: a `redis.Redis` of its own, `decode_responses` off; its timeouts bound each call.
        rows: the layout of rows.
        name: the app's name.
        consumed_limit: items kept per user in the consumed set.
        identity: of this process.
    """

    def __init__(
        self, client: Any, rows: FeastRows, name: str, consumed_limit: int, identity: str | None = None
    ) -> None:
        self._client = client
        self._rows = rows
        self._name = name
        self._consumed_limit = consumed_limit
        self._identity = identity or process_identity()
        self._claim_key = f"headrace:{name}:ingester"
        self._alive_key = f"headrace:{name}:ingester:alive"
        self._epoch = 0
        self._round = 0
        self._versions: OrderedDict[tuple[str, str], int] = OrderedDict()

    def try_claim(self) -> Claim | None:
        """Become the writer, or return None while another one lives.

        Raises:
            redis.RedisError: the store does not answer.
        """
        with self._client.pipeline(transaction=True) as pipe:
            pipe.watch(self._claim_key, self._alive_key)
            owner = (pipe.get(self._alive_key) or b"").decode()
            if owner not in ("", self._identity) and can_be_running(owner):
                return None
            stored = {name.decode(): value.decode() for name, value in pipe.hgetall(self._claim_key).items()}
            # A flushed store starts at 0: go on above this writer's own epoch.
            epoch = max(int(stored.pop("epoch", 0)), self._epoch) + 1
            pipe.multi()
            pipe.hset(self._claim_key, mapping={"epoch": epoch, "round": 0, "owner": self._identity})
            pipe.set(self._alive_key, self._identity, px=ALIVE_MS)
            try:
                pipe.execute()
            except WatchError:
                return None
        self._epoch, self._round = epoch, 0
        self._versions.clear()
        offsets = {name: int(value) for name, value in stored.items() if name not in ("round", "owner")}
        return Claim(epoch, 0, offsets)

    def beat(self) -> None:
        """Tell other ingesters that this one lives; call it about once a second.

        Raises:
            StoreLostError: see `write_rows`.
            redis.RedisError: the store does not answer.
        """
        self._transact(lambda pipe: pipe.set(self._alive_key, self._identity, px=ALIVE_MS))

    def release(self) -> None:
        """Let the next ingester start at once."""
        with contextlib.suppress(StoreLostError, RedisError):
            self._transact(lambda pipe: pipe.delete(self._alive_key))

    def write_rows(self, rows: Sequence[FeatureRow], offsets: Mapping[str, int]) -> None:
        """Write rows (at most one per view and entity) and the offsets behind them; all or nothing.

        Raises:
            TakenOverError: another writer claimed the store; nothing was written.
            WentBackError: the store lost earlier writes; nothing was written.
            redis.RedisError: the store does not answer; whether it has written is open, and writing again is safe.
        """
        versions = self._next_versions(rows)

        def queue(pipe: Any) -> None:
            for row, version_ms in zip(rows, versions, strict=True):
                pipe.hset(self._rows.key(row.view, row.entity_id), mapping=self._rows.mapping(row, version_ms))
                queue_consumed(pipe, self._name, row.entity_id, row.consumed, self._consumed_limit)

        self._transact(queue, offsets)
        self._remember(rows, versions)

    def _transact(self, queue: Callable[[Any], object], offsets: Mapping[str, int] | None = None) -> None:
        """Run what `queue` puts on a pipeline if and only if this is still the writer."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.watch(self._claim_key)
            self._check_claim(*pipe.hmget(self._claim_key, "epoch", "round"))
            pipe.multi()
            queue(pipe)
            pipe.hset(self._claim_key, mapping={"round": self._round + 1, **(offsets or {})})
            try:
                pipe.execute()
            except WatchError as error:
                # Only another claim, or an answer of ours that was thought lost, touches the watched key.
                raise RedisConnectionError("the claim changed while writing; trying again") from error
        self._round += 1

    def _check_claim(self, stored_epoch: bytes | None, stored_round: bytes | None) -> None:
        epoch, round_ = int(stored_epoch or 0), int(stored_round or 0)
        if epoch > self._epoch:
            raise TakenOverError(f"another ingester claimed the store (epoch {epoch}, this one has {self._epoch})")
        if (epoch, round_) < (self._epoch, self._round):
            raise WentBackError(
                f"the store is at {epoch}.{round_}, this writer had written {self._epoch}.{self._round}"
            )
        # One round ahead: the answer to the last write was lost, the write was not.
        self._round = round_

    def _next_versions(self, rows: Sequence[FeatureRow]) -> list[int]:
        """Return the version of each row; unknown last versions are read back in one round trip."""
        unknown = [row for row in rows if (row.view, row.entity_id) not in self._versions]
        if unknown:
            with self._client.pipeline(transaction=False) as pipe:
                for row in unknown:
                    pipe.hget(self._rows.key(row.view, row.entity_id), version_field(row.view))
                last_versions = [decode_version(stored) for stored in pipe.execute()]
            self._remember(unknown, last_versions)
        return [next_version_ms(self._versions[row.view, row.entity_id], row.record_time_ms) for row in rows]

    def _remember(self, rows: Sequence[FeatureRow], versions: Sequence[int]) -> None:
        for row, version_ms in zip(rows, versions, strict=True):
            self._versions[row.view, row.entity_id] = version_ms
            self._versions.move_to_end((row.view, row.entity_id))
        while len(self._versions) > max(MAX_CACHED_VERSIONS, len(rows)):
            self._versions.popitem(last=False)
