"""`headrace forget USER`: what is known of a user goes, and who comes back under the id is new.

    1. an audit line, without the id; the user is excluded from every later build of the feature job
    2. the feature job is built anew from what Kafka has without the user's events, and switched
    3. the trainer is ordered to forget: history, embedding row, ratings; samples from before are not learnt any more
    4. the rows are deleted on their topics, then in Redis with the consumed set
    5. dead letters, then the feature log

Each step may be repeated: a killed run is run again. docs/forget.md says what stays, and until when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from redis import Redis, RedisError

from compose.data_orders import now_ms, send_order, trainer_status, write_audit
from compose.errors import StackError, StackNotRunningError
from compose.forget_letters import forget_letters
from compose.local_stack import read_status
from compose.stale_rows import delete_stale_rows
from compose.streams_upgrade import ShowProgress, StreamsUpgrade
from features.config import Endpoints, load_app_config
from features.consumed_items import consumed_key
from features.feast_rows import FeastRows, feast_project
from features.feature_log import JOURNAL_FOLDER
from features.feature_log_erasure import erase_entity
from features.feature_log_files import LOG_FOLDER
from features.feature_log_journal import SUFFIX
from features.redis_settings import redis_settings
from serving.checked_id import check_id
from serving.errors import RequestError
from streams.exclusions import load_exclusions, save_exclusions, user_name

USER_VIEWS = ("user_activity", "user_exposure")
_REDIS_TIMEOUT_S = 5.0
_POLL_S = 0.2
_SETTLE_S = 120.0
"""Longest wait for ingester and trainer to follow; what they do later they do all the same."""


class ForgetUsageError(StackError):
    """Expected: an id that no user can have."""

    exit_code = 2


class UserStore(Protocol):
    """What forgetting needs of Redis."""

    def hgetall(self, name: bytes) -> Mapping[bytes, bytes]:
        """Return a hash."""

    def exists(self, *names: bytes | str) -> Any:
        """Return how many of the keys there are."""

    def delete(self, *names: bytes | str) -> Any:
        """Delete keys."""


@dataclass
class ForgetSummary:
    """What was reached, or would be."""

    user_hash: str
    """sha256 of the id."""
    is_dry_run: bool
    redis_keys: int = 0
    rows_deleted: int = 0
    letters_deleted: int = 0
    log_rows_deleted: int = 0
    trainer_followed: bool = False
    features: str = "left as they are"

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the summary for a person."""
        if self.is_dry_run:
            return f"would forget: {self.redis_keys} keys in Redis now; nothing was done"
        trainer = "the trainer forgot" if self.trainer_followed else "the trainer has not said yet that it forgot"
        return (
            f"forgotten: {self.redis_keys} keys in Redis, {self.rows_deleted} feature rows, {self.letters_deleted} "
            f"dead letters, {self.log_rows_deleted} rows of the feature log; {trainer}; features {self.features}"
        )


class Forget:
    """One user forgotten on a running stack.

    Args:
        config_path: `headrace.yaml`.
        endpoints_path: the running stack.
        endpoints: its addresses.
        say: told each step.
    """

    def __init__(
        self, config_path: Path, endpoints_path: Path, endpoints: Endpoints, say: Callable[[str], None]
    ) -> None:
        self._paths = (config_path, endpoints_path)
        self._endpoints = endpoints
        self._state = Path(endpoints.state)
        self._say = say
        self._app = load_app_config(config_path)

    def look(self, user_id: str) -> ForgetSummary:
        """Return what Redis has of a user.

        Raises:
            ForgetUsageError: no user can have this id.
            StackError: Redis does not answer.
        """
        try:
            check_id("USER", user_id)
        except RequestError as error:
            raise ForgetUsageError(f"no user can have this id: {error}") from error
        keys = self._with_store(lambda store: int(store.exists(*self._keys(user_id))))
        return ForgetSummary(user_name(user_id), True, redis_keys=keys)

    def run(
        self,
        user_id: str,
        reason: str,
        with_features: bool,
        accept_missing_history: bool,
        timeout_s: float,
        show_progress: ShowProgress,
    ) -> ForgetSummary:
        """Forget a user.

        Args:
            user_id: who.
            reason: for the audit line.
            with_features: build the feature job anew; else its state keeps the user's sums until the next build.
            accept_missing_history: build it from what Kafka has.
            timeout_s: for the build.
            show_progress: told how far the new feature job has read.

        Raises:
            StackError: a step is refused or fails; run it again once that is mended.
            StreamsError: Flink refuses.
        """
        summary = self.look(user_id)
        summary.is_dry_run = False
        until_ms = now_ms()
        before = load_exclusions(self._state)
        save_exclusions(self._state, before.with_user(user_id, until_ms))
        upgrade: StreamsUpgrade | None = None
        try:
            if with_features:
                upgrade = StreamsUpgrade(*self._paths, self._endpoints, self._say, before)
                upgrade.check(accept_missing_history)
            write_audit(self._state, "forget", user_sha256=summary.user_hash, reason=reason)
        except BaseException:
            save_exclusions(self._state, before)
            raise
        if upgrade is not None:
            self._say("building the features without the user")
            built = upgrade.run(show_progress, timeout_s, accept_missing_history, accept_differences=True)
            summary.features = built.sentence()
        self._say("ordering the trainer to forget")
        forgotten = trainer_status(self._state).get("quarantine", {}).get("orders", 0)
        send_order(
            self._endpoints.kafka_servers,
            self._app.name,
            order="forget",
            user_id=user_id,
            time_ms=until_ms,
            reason=reason,
        )
        # Without a new build every row is the forgotten user's; with one, what it wrote since is of who came back.
        since_ms = (upgrade.switched_ms if upgrade is not None else 0) or now_ms()
        summary.rows_deleted = sum(
            delete_stale_rows(self._endpoints.kafka_servers, view, [user_id], since_ms) for view in USER_VIEWS
        )
        self._say("deleting rows, letters and the feature log")
        self._wait_for_ingester(user_id)
        self._with_store(lambda store: int(store.delete(*self._keys(user_id))))
        summary.letters_deleted = forget_letters(self._endpoints.kafka_servers, user_id)
        summary.log_rows_deleted = self._erase_log(user_id)
        summary.trainer_followed = self._wait_for_trainer(forgotten)
        return summary

    def _keys(self, user_id: str) -> list[bytes | str]:
        row = FeastRows(feast_project(self._app)).key("user_activity", user_id)
        return [row, consumed_key(self._app.name, user_id)]

    def _with_store(self, work: Callable[[UserStore], int]) -> int:
        store: Any = Redis(**redis_settings(self._endpoints.redis_server), socket_timeout=_REDIS_TIMEOUT_S)
        try:
            return work(store)
        except RedisError as error:
            raise StackNotRunningError(f"Redis at {self._endpoints.redis} does not answer ({error})") from error
        finally:
            store.close()

    def _wait_for_ingester(self, user_id: str) -> None:
        """Wait until the row is empty in Redis: deleted before, the ingester would write the empty row again."""
        row = self._keys(user_id)[0]
        assert isinstance(row, bytes)
        deadline_s = time.monotonic() + _SETTLE_S

        def is_full(store: UserStore) -> int:
            return int(any(value for name, value in store.hgetall(row).items() if not name.startswith(b"_ts:")))

        while time.monotonic() < deadline_s and self._with_store(is_full):
            time.sleep(_POLL_S)

    def _erase_log(self, user_id: str) -> int:
        """Erase what is in files, and again once the journal of before is in files too."""
        folder, ended_ms = self._state / LOG_FOLDER, now_ms()
        deadline_s = time.monotonic() + _SETTLE_S + 2 * self._app.features.feature_log.flush_s
        count = erase_entity(folder, USER_VIEWS, user_id)
        while time.monotonic() < deadline_s and oldest_segment_ms(folder) <= ended_ms:
            time.sleep(_POLL_S)
        return count + erase_entity(folder, USER_VIEWS, user_id)

    def _wait_for_trainer(self, before: int) -> bool:
        deadline_s = time.monotonic() + _SETTLE_S
        if not any(part["name"] == "trainer" for part in read_status(self._state).get("parts", [])):
            return False
        while time.monotonic() < deadline_s:
            if trainer_status(self._state).get("quarantine", {}).get("orders", 0) > before:
                return True
            time.sleep(_POLL_S)
        return False


def oldest_segment_ms(log: Path) -> float:
    """Return when the oldest segment of the feature log's journal was begun; infinity where all rows are in files."""
    return min(
        (int(path.stem.partition("-")[2]) for path in (log / JOURNAL_FOLDER).glob(f"*{SUFFIX}")), default=float("inf")
    )
