"""`headrace purge`: a window of broker time taken out of what is learnt and out of what is counted.

    1. an audit line; the window's holds are dropped and the trainer is ordered to learn again without it
    2. the feature job is built anew beside the running one, from what Kafka has but the window, and switched
    3. rows that only the window had made are deleted; items of the window leave the consumed sets
    4. the trainer says that it stands behind the window

Each step may be repeated: a killed purge is run again with the same window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from redis import Redis, RedisError

from compose.data_orders import now_ms, send_order, wait_for_purge, write_audit
from compose.errors import NotHeldError, StackError, StackNotRunningError
from compose.quality import QualityDesk
from compose.stale_rows import delete_stale_rows
from compose.streams_upgrade import ShowProgress, StreamsUpgrade
from compose.window_events import WindowEvents, read_window
from features.config import Endpoints, load_app_config
from features.consumed_items import consumed_key
from features.quality.hold_table import DROP_ORDER
from features.redis_settings import redis_settings
from streams.exclusions import load_exclusions, save_exclusions

_LONGEST_MS = 7 * 86_400_000
_REDIS_TIMEOUT_S = 5.0
USER_VIEWS, ITEM_VIEWS = ("user_activity",), ("item_activity",)
"""Views that are made of events; exposure is made of what was shown, which a purge leaves."""


class PurgeUsageError(StackError):
    """Expected: a window that cannot be purged."""

    exit_code = 2


class ConsumedSets(Protocol):
    """What a purge needs of Redis."""

    def zscore(self, name: str, value: str) -> Any:
        """Return a member's score."""

    def zrem(self, name: str, *values: str) -> Any:
        """Remove members."""


@dataclass(frozen=True)
class PurgeSummary:
    """What a purge did, or would do."""

    is_dry_run: bool
    window: tuple[int, int]
    events: int
    users: int
    items: int
    dropped_holds: int = 0
    rows_deleted: int = 0
    consumed_removed: int = 0
    samples_passed_over: int = 0
    features: str = ""
    """What became of the feature job."""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the summary for a person."""
        who = f"{self.events} records of {self.users} users and {self.items} items"
        if self.is_dry_run:
            return f"would purge {who}; nothing was done"
        return (
            f"purged {who}: features {self.features}, {self.rows_deleted} rows and {self.consumed_removed} consumed "
            f"items deleted; the trainer passed over {self.samples_passed_over} samples"
        )


def checked_window(start_ms: int, end_ms: int, time_ms: int) -> tuple[int, int]:
    """Return a window that can be purged.

    Raises:
        PurgeUsageError: it is empty, not over yet, or longer than events are kept.
    """
    if not 0 < start_ms < end_ms:
        raise PurgeUsageError(f"--from {start_ms} must lie before --to {end_ms}; both are broker times")
    if end_ms > time_ms:
        raise PurgeUsageError(f"--to {end_ms} lies ahead of now, {time_ms}; hold what still comes: docs/quality.md")
    if end_ms - start_ms > _LONGEST_MS:
        raise PurgeUsageError(f"the window has {(end_ms - start_ms) / 86_400_000:.1f} days, topics keep 7; learn anew")
    return start_ms, end_ms


class Purge:
    """One purge of a running stack.

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

    def look(self, window: tuple[int, int]) -> tuple[PurgeSummary, WindowEvents]:
        """Return what a purge would touch."""
        events = read_window(self._endpoints.kafka_servers, *window, int(1000 * self._app.features.clock_skew_s))
        return PurgeSummary(True, window, events.records, len(events.users), len(events.items)), events

    def run(
        self,
        window: tuple[int, int],
        reason: str,
        with_features: bool,
        accept_missing_history: bool,
        timeout_s: float,
        show_progress: ShowProgress,
    ) -> PurgeSummary:
        """Purge.

        Args:
            window: broker times.
            reason: for the audit line and the trainer's log.
            with_features: rebuild the features too.
            accept_missing_history: rebuild them from what Kafka has.
            timeout_s: of each of the two long steps.
            show_progress: told how far the new feature job has read.

        Raises:
            StackError: a step is refused or fails; the message says what stands.
            StreamsError: Flink refuses.
        """
        start_ms, end_ms = window
        _, events = self.look(window)
        upgrade: StreamsUpgrade | None = None
        before = load_exclusions(self._state)
        if with_features:
            self._say("looking whether the features can be rebuilt")
            save_exclusions(self._state, before.with_window(*window))
        try:
            if with_features:
                upgrade = StreamsUpgrade(*self._paths, self._endpoints, self._say, before)
                upgrade.check(accept_missing_history)
            write_audit(self._state, "purge", window_start_ms=start_ms, window_end_ms=end_ms, reason=reason)
        except BaseException:
            save_exclusions(self._state, before)
            raise
        dropped = self._drop_holds(window)
        self._say("ordering the trainer to learn again without the window")
        said = {"window_start_ms": start_ms, "window_end_ms": end_ms, "time_ms": now_ms(), "reason": reason}
        send_order(self._endpoints.kafka_servers, self._app.name, order="purge", **said)
        features, rows, consumed = "left as they are", 0, 0
        if upgrade is not None:
            features, rows, consumed = self._rebuild(upgrade, events, accept_missing_history, timeout_s, show_progress)
        self._say("waiting for the trainer")
        told = wait_for_purge(self._state, window, timeout_s)
        return PurgeSummary(
            False,
            window,
            events.records,
            len(events.users),
            len(events.items),
            dropped,
            rows,
            consumed,
            told.get("passed_over", 0),
            features,
        )

    def _drop_holds(self, window: tuple[int, int]) -> int:
        """Drop what is held within the window: nobody must release it later."""
        desk = QualityDesk(self._endpoints.kafka_servers, self._app.name)
        try:
            return len(desk.order(DROP_ORDER, window[0], window[1] - 1))
        except NotHeldError:
            return 0

    def _rebuild(
        self,
        upgrade: StreamsUpgrade,
        events: WindowEvents,
        accept_missing_history: bool,
        timeout_s: float,
        show_progress: ShowProgress,
    ) -> tuple[str, int, int]:
        summary = upgrade.run(show_progress, timeout_s, accept_missing_history, accept_differences=True)
        since_ms = upgrade.switched_ms
        rows = sum(
            delete_stale_rows(self._endpoints.kafka_servers, view, events.users, since_ms) for view in USER_VIEWS
        )
        rows += sum(
            delete_stale_rows(self._endpoints.kafka_servers, view, events.items, since_ms) for view in ITEM_VIEWS
        )
        how = redis_settings(self._endpoints.redis_server)
        store = Redis(**how, socket_timeout=_REDIS_TIMEOUT_S, decode_responses=True)
        try:
            consumed = remove_consumed(store, self._app.name, events)
        except RedisError as error:
            raise StackNotRunningError(f"Redis at {self._endpoints.redis} does not answer ({error})") from error
        finally:
            store.close()
        return summary.sentence(), rows, consumed


def remove_consumed(store: ConsumedSets, name: str, events: WindowEvents) -> int:
    """Take items out of the consumed sets whose newest event lies in the window; return how many.

    An older event with the item brings it back with the user's row: whatever the rebuilt history names is written anew.

    Args:
        store: Redis.
        name: the app's.
        events: of the window.
    """
    count = 0
    for user_id, items in events.items_of.items():
        key = consumed_key(name, user_id)
        for item_id, times_ms in items.items():
            score = store.zscore(key, item_id)
            if score is not None and int(score) in times_ms:
                count += int(store.zrem(key, item_id))
    return count
