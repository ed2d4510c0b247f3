"""Everything that the page shows, gathered in one place: files every two seconds, topics as they come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from compose.dashboard.freshness import Freshness
from compose.dashboard.history import History, Rates
from compose.dashboard.insights import Insights
from compose.dashboard.letters import Letters
from compose.dashboard.page_metrics import PageMetrics
from compose.dashboard.problems import gate_problem, problems
from compose.dashboard.state_files import StateFiles
from compose.dashboard.topic_tail import Tailed, TopicTail
from compose.dashboard.trial import Trial
from compose.dashboard.user_book import UserBook
from compose.dashboard.version_line import VersionLine
from compose.dlq_letters import DEAD_LETTERS_TOPIC
from compose.errors import StackError
from compose.serving_client import AdminClient
from compose.status import StackReport, collect_status
from features.config import AppConfig, Endpoints
from headrace_client import EVENTS_TOPIC
from headrace_client.records import ITEMS_TOPIC
from serving.feature_client import UserRows
from serving.topic_reader import connect_consumer
from serving.user_rows import RedisUserRows
from trainer.delta_chunks import TOPIC as DELTAS_TOPIC

logger = logging.getLogger(__name__)

POLL_S = 2.0
_REPORT_S = 6.0
"""Between two looks at processes and Flink: they cost a dozen calls."""
_WATCHED_S = 60.0
_LOOKED_UP_USERS = 30
_COLD, _WARM = 5, 20
"""Events below which a user is cold, and from which on he is a regular."""


class _Sample(msgspec.Struct):
    kind: str = ""
    broker_time_ms: int = 0


def clock_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Board:
    """What is known now, and the bounded past of it.

    Args:
        app: of `headrace.yaml`.
        endpoints: of the stack.
        rows: the online store; that of the endpoints by default.
        now_ms: tells the time.
        metrics: what Prometheus hears.
    """

    def __init__(
        self,
        app: AppConfig,
        endpoints: Endpoints,
        rows: UserRows | None = None,
        now_ms: Callable[[], int] = clock_ms,
        metrics: PageMetrics | None = None,
    ) -> None:
        self.app = app
        self.endpoints = endpoints
        self.now_ms = now_ms
        self.files = StateFiles(endpoints)
        self.metrics = metrics or PageMetrics()
        self.history = History()
        self.insights = Insights()
        self.versions = VersionLine(app.name)
        self.letters = Letters(app)
        self.freshness = Freshness()
        self._redis = None if rows is not None else RedisUserRows(endpoints, app)
        store: UserRows = rows or self._redis  # type: ignore[assignment]
        self.users = UserBook(store, app, self.insights.title_of)
        self.trial = Trial(app, endpoints, self.insights, self.versions)
        self.report: StackReport | None = None
        self.warmth: dict[str, int] = {}
        self.versions_error = ""
        self.started_ms = now_ms()
        self.tail = TopicTail(partial(connect_consumer, endpoints.kafka_servers), self._tailed(), self._is_watched)
        self._rates = Rates()
        self._watched_s = time.monotonic()
        self._report_s = 0.0

    def watch(self) -> None:
        """Say that somebody looks."""
        self._watched_s = time.monotonic()

    async def follow(self) -> None:
        """Gather for good."""
        self.tail.start()
        try:
            while True:
                try:
                    await self.gather()
                except Exception:  # A page must outlive whatever a part writes.
                    logger.exception("a look at the parts failed; the next comes in %g s", POLL_S)
                await asyncio.sleep(POLL_S)
        finally:
            await asyncio.to_thread(self.tail.stop)
            self.trial.close()
            if self._redis is not None:
                self._redis.close()

    async def gather(self) -> None:
        """Look at every part once."""
        await asyncio.to_thread(self.files.read)
        serving = self.files["serving"]
        self.metrics.silent_parts = len(self.files.silent_parts(self.now_ms()))
        self.metrics.hears_kafka = not self.tail.error
        with self.tail.lock:
            self.freshness.on_live(serving.get("model_version", ""), serving.get("loaded_time_ms", 0))
            self.versions.on_live(serving.get("model_version", ""), serving.get("loaded_time_ms", 0))
        self._note_history()
        if time.monotonic() - self._report_s >= _REPORT_S:
            self._report_s = time.monotonic()
            await asyncio.to_thread(self._look_at_parts)
            await self.refresh_versions()
            if self._is_watched():
                await self._look_at_users()

    async def refresh_versions(self) -> None:
        """Ask the server for its versions again."""
        try:
            client = AdminClient(self.endpoints)
            statuses = await asyncio.to_thread(client.list_models)
        except StackError as error:
            self.versions_error = str(error)
            return
        self.versions_error = ""
        with self.tail.lock:
            self.versions.on_statuses(statuses)

    def stages(self) -> dict[str, dict[str, float]]:
        """Return the freshness of every stage, in the order of an event's way."""
        with self.tail.lock:
            measured = self.freshness.stages(self.now_ms())
        return {"feature": dict(self.files["ingester"].get("event_to_feature_ms", {})), **measured}

    def problems(self) -> list[dict[str, str]]:
        """Return what is wrong, the worst first."""
        silent = self.files.silent_parts(self.now_ms())
        found = problems(self.report, silent, self.tail.error)
        held = gate_problem(self.files["trainer"].get("gate", {}))
        return [one.to_json() for one in ([held] if held else []) + found]

    def _tailed(self) -> list[Tailed]:
        return [
            Tailed(EVENTS_TOPIC, self._on_event, most=6000),
            Tailed("headrace.samples.v1", self._on_sample, most=1000),
            Tailed("headrace.served.v1", lambda record: self.trial.on_served(record.key, record.value), most=1000),
            Tailed(DELTAS_TOPIC, self._on_delta, most=120),
            Tailed("headrace.models.v1", lambda record: self.versions.on_announcement(record.value), is_whole=True),
            Tailed("headrace.control.v1", lambda record: self.versions.on_order(record.value), is_whole=True),
            Tailed(ITEMS_TOPIC, lambda record: self.insights.on_item(record.key, record.value), is_whole=True),
            Tailed(DEAD_LETTERS_TOPIC, lambda record: self.letters.on_record(record.value), most=2000),
        ]

    def _on_event(self, record: Any) -> None:
        self.insights.on_event(record.timestamp, record.value)

    def _on_sample(self, record: Any) -> None:
        try:
            sample = msgspec.json.decode(record.value or b"", type=_Sample)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if sample.kind in ("organic", "correction"):
            name = f"{record.topic}:{record.partition}"
            self.freshness.on_sample(name, record.offset, record.timestamp, sample.broker_time_ms)

    def _on_delta(self, record: Any) -> None:
        manifest = self.versions.on_delta(record.value)
        if manifest is not None:
            self.freshness.on_version(manifest.version, manifest.created_time_ms, manifest.sample_offsets)

    def _is_watched(self) -> bool:
        return time.monotonic() - self._watched_s < _WATCHED_S

    def _look_at_parts(self) -> None:
        try:
            self.report = collect_status(Path(self.endpoints.state))
        except StackError:  # The parts may run elsewhere: then their files and topics tell.
            self.report = None

    async def _look_at_users(self) -> None:
        """Count how well the newest users are known, from the rows that the server reads."""
        with self.tail.lock:
            users = self.insights.newest_users(_LOOKED_UP_USERS)
        lengths: list[int] = []
        with contextlib.suppress(OSError, TimeoutError):
            lengths = [await self.users.history_length(user_id) for user_id in users]
        cold, regular = sum(n < _COLD for n in lengths), sum(n >= _WARM for n in lengths)
        self.warmth = {"cold": cold, "warm": len(lengths) - cold - regular, "regular": regular} if lengths else {}

    def _note_history(self) -> None:
        now_ms, serving, trainer = self.now_ms(), self.files["serving"], self.files["trainer"]
        judged = trainer.get("judged", {}).get("series", {})
        values: dict[str, float | None] = {}
        for name, one in judged.items():
            values |= {f"judged:{name}": one["value"], f"baseline:{name}": one["baseline"]}
        values |= {f"metric:{name}": value for name, value in trainer.get("metrics", {}).items() if _is_told(name)}
        values |= self._traffic_of(now_ms)
        values["samples_per_s"] = trainer.get("samples_per_s")
        values["lag:trainer"] = trainer.get("lag_samples")
        values["lag:ingester"] = sum(self.files["ingester"].get("lag", {}).values())
        for stage, times in self.stages().items():
            values |= {f"fresh:{stage}:{p}": times.get(p) for p in ("p50", "p99")}
        for stage, times in serving.get("stages_ms", {}).items():
            values |= {f"stage:{stage}:{p}": times.get(p) for p in ("p50", "p99")}
        self.history.add(now_ms, {name: value for name, value in values.items() if isinstance(value, int | float)})

    def _traffic_of(self, now_ms: int) -> dict[str, float | None]:
        """Return figures a second of what the server and the topics only count."""
        serving = self.files["serving"]
        time_ms = int(serving.get("time_ms", now_ms))
        values = {
            "requests_per_s": self._rates.of("requests", time_ms, serving.get("requests", 0)),
        }
        if EVENTS_TOPIC in self.tail.written:
            values["events_per_s"] = self._rates.of("events", now_ms, self.tail.written[EVENTS_TOPIC])
        for reason, count in serving.get("degraded", {}).items():
            values[f"degraded:{reason}"] = self._rates.of(f"degraded:{reason}", time_ms, count)
        return values


def _is_told(name: str) -> bool:
    return not name.endswith("_overall")
