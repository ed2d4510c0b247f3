"""One server process: start, serve, shut down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from features.config import AppConfig, Endpoints
from features.model_inputs import feature_schema_hash
from features.request_token_config import RequestTokensConfig
from features.warm_up import warm_up
from protos import serving_pb2_grpc
from serving.admin import AdminServicer
from serving.admission import Admission
from serving.announcements import Announcement
from serving.arms.arm import Arm
from serving.arms.arm_table import ArmTable
from serving.arms.declared import DeclaredExperiment
from serving.config import ServingConfig
from serving.delta_reader import DeltaReader
from serving.edge import Edge
from serving.feature_client import UserFeatures
from serving.health import Health
from serving.item_features import ItemFeatures
from serving.kafka_writer import KafkaWriter, Producer, connect_producer
from serving.model_builder import ModelBuilder
from serving.model_store import ModelStore
from serving.recommender import Recommender
from serving.rules_file import RulesFile
from serving.security.listening import check_public
from serving.security.metrics_port import MetricsPort
from serving.security.operator_tokens import make_operator_tokens, operator_files
from serving.security.request_tokens import RequestTokens
from serving.security.roles import Role
from serving.security.token_file import Tokens
from serving.served_log import ServedLog
from serving.servicer import RecommenderServicer
from serving.stage_times import StageTimes
from serving.standing_order import StandingOrderFile
from serving.status_file import ServingStatus, write_status
from serving.topic_reader import TopicReader, connect_consumer
from serving.user_rows import RedisUserRows

logger = logging.getLogger(__name__)

MODELS_TOPIC = "headrace.models.v1"
_STATUS_PERIOD_S = 1.0
_ANNOUNCEMENTS_S = 2.0
_WRITER_STOP_S = 2.5
_REFLECTED = ("headrace.serving.v1.Recommender", "grpc.health.v1.Health", reflection.SERVICE_NAME)


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with."""

    app: AppConfig
    serving: ServingConfig
    endpoints: Endpoints
    address: str
    admin_address: str = ""
    """Empty: no ModelAdmin."""
    name: str = "serving"
    """Names the status and order files, so that servers can share a state directory."""
    rules_path: Path | None = None
    """`headrace.yaml`, whose rules are followed; None for no rules."""
    request_tokens: RequestTokensConfig = field(default_factory=RequestTokensConfig)
    """Whether answers are signed."""


@dataclass(frozen=True)
class Connections:
    """What a server reaches out to; tests give their own."""

    user_rows: RedisUserRows
    connect_consumer: Callable[[], Any]
    connect_producer: Callable[[], Producer]

    @classmethod
    def of(cls, settings: ServerSettings) -> Connections:
        """Return the connections to the running stack; nothing is connected yet."""
        return cls(
            RedisUserRows(settings.endpoints, settings.app),
            partial(connect_consumer, settings.endpoints.kafka),
            partial(connect_producer, settings.endpoints.kafka),
        )


class Server:
    """The parts of one server and their order of starting and stopping.

    Args:
        settings: what to serve, where.
        connections: how to reach Kafka, Redis and Feast.

    Raises:
        StartupError: an address cannot be used.
        ConfigError: a rule cannot be used.
    """

    def __init__(self, settings: ServerSettings, connections: Connections) -> None:
        app, serving, endpoints = settings.app, settings.serving, settings.endpoints
        self._settings = settings
        self._state_dir = Path(endpoints.state)
        self._user_rows = connections.user_rows
        self.users = UserFeatures(connections.user_rows, app, serving)
        self.items = ItemFeatures(connections.connect_consumer, app.features)
        self.writer = KafkaWriter(connections.connect_producer, serving.served_log_queue)
        order_file = StandingOrderFile(self._state_dir / f"{settings.name}-order.json")
        store_dir = Path(endpoints.model_store) / app.name
        builder = ModelBuilder(store_dir, app.name, app.features, connections.connect_consumer)
        deltas = DeltaReader(connections.connect_consumer, app.name)
        self.models = ModelStore(store_dir, app.name, builder, self.items.table, order_file, deltas)
        self._announcements = TopicReader(
            connections.connect_consumer, (MODELS_TOPIC,), decode_announcement, self.models.announce, batch_size=1000
        )
        self.times = StageTimes()
        self.rules = RulesFile(settings.rules_path, app)
        self.arms = ArmTable(Arm.outside(self.models, serving))
        self.experiment = DeclaredExperiment(serving, self.models, self.arms)
        self.recommender = Recommender(
            app,
            serving,
            self.models,
            self.users,
            self.items.table,
            ServedLog(self.writer),
            self.times,
            lambda: self.rules.current,
            arms=self.arms,
        )
        self.admission = Admission(serving.overload, serving.max_user_reads, lambda: self.recommender.cost_s)
        make_operator_tokens(self._state_dir)
        security = serving.security
        self.tokens = Tokens(security.tokens_path(self._state_dir), operator_files(self._state_dir))
        self.request_tokens = self._signer()
        if self.request_tokens is not None:
            self.times.registry.register(self.request_tokens)
        for collector in (self.rules, self.writer, self.admission, self.tokens, self.models.stats, self.arms):
            self.times.registry.register(collector)
        self.health = Health()
        self._edge = Edge(serving, self.tokens)
        self._grpc = self._edge.make_server()
        self._admin_grpc: Any = None
        self.address = self._edge.listen(self._grpc, settings.address, "--address", Role.RECOMMEND)
        self.metrics = self._metrics_port()
        self.admin_address = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every part; return when requests can be answered, by the fallback at least.

        Raises:
            StartupError: an address cannot be used.
        """
        self._add_services()
        await asyncio.to_thread(warm_up)
        self.writer.start()
        self._announcements.start()
        await self.health.start()
        catching_up = asyncio.create_task(self.items.start(self._settings.serving.catch_up_s))
        await self._announcements.wait_until_caught_up(_ANNOUNCEMENTS_S)  # They tell which versions on disk are held.
        await self.models.start(self._settings.serving.cold_start_versions)
        await self.experiment.start()
        self._tasks.append(asyncio.create_task(self._user_rows.keep_open(), name="keep Redis open"))
        if not await catching_up:
            logger.warning("item features are not read to the end yet; serving with %d items", len(self.items.table))
        await self._grpc.start()
        if self._admin_grpc is not None:
            await self._admin_grpc.start()
        if self.metrics is not None:
            self.metrics.start()
        await self.health.can_answer()
        self._tasks.append(asyncio.create_task(self._report(), name="report status"))
        self._tasks.append(asyncio.create_task(self.rules.follow(self._settings.serving.rules_check_s), name="rules"))
        check_s = self._settings.serving.security.tokens_check_s
        self._tasks.append(asyncio.create_task(self.tokens.follow(check_s), name="tokens"))
        if self.request_tokens is not None:
            check_s = self._settings.request_tokens.check_s
            self._tasks.append(asyncio.create_task(self.request_tokens.follow(check_s), name="request keys"))
        logger.info("serving on %s, admin on %s", self.address, self.admin_address or "no port")

    async def stop(self) -> None:
        """Say NOT_SERVING, let calls in flight end, then stop every part."""
        await self.health.drain()
        await self._grpc.stop(self._settings.serving.drain_s)
        if self._admin_grpc is not None:
            await self._admin_grpc.stop(0)
        if self.metrics is not None:
            await asyncio.to_thread(self.metrics.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.experiment.stop()
        await asyncio.gather(self.models.stop(), self._announcements.stop(), self.items.stop())
        await asyncio.to_thread(self.writer.stop, _WRITER_STOP_S)
        self._user_rows.close()

    def _add_services(self) -> None:
        settings = self._settings
        servicer = RecommenderServicer(
            self.recommender, settings.app, settings.serving, self.admission, self.request_tokens
        )
        serving_pb2_grpc.add_RecommenderServicer_to_server(servicer, self._grpc)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._grpc)
        if self._settings.serving.reflection:
            reflection.enable_server_reflection(_REFLECTED, self._grpc)
        if self._settings.admin_address:
            self._add_admin()

    def _signer(self) -> RequestTokens | None:
        """Return what signs answers; None where request tokens are off."""
        config = self._settings.request_tokens
        return RequestTokens(config.keys_path(self._state_dir)) if config.is_enabled else None

    def _metrics_port(self) -> MetricsPort | None:
        """Bind Prometheus' port, where there is to be one."""
        serving = self._settings.serving
        if not serving.metrics_port:
            return None
        address = f"{serving.metrics_host}:{serving.metrics_port}"
        check_public(address, "serving.metrics_host", Role.METRICS, serving.security.tls, self.tokens)
        return MetricsPort(address, self.times.registry, self.tokens, serving.security.tls)

    def _add_admin(self) -> None:
        """Put ModelAdmin on its own port."""
        server = self._admin_grpc = self._edge.make_server()
        schema_hash = feature_schema_hash(self._settings.app.features)
        admin = AdminServicer(self.models, self._settings.app.name, self.writer, self.items.next_offsets, schema_hash)
        serving_pb2_grpc.add_ModelAdminServicer_to_server(admin, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, server)
        self.admin_address = self._edge.listen(server, self._settings.admin_address, "--admin-address", Role.ADMIN)

    async def _report(self) -> None:
        """Keep the health of `headrace.full` and the status file current."""
        while True:
            live = self.models.live
            can_rank = live is not None and live.num_items > 0
            is_full = can_rank and self.users.is_available and self.items.is_connected
            await self.health.set_full(is_full)
            with contextlib.suppress(OSError):  # A full disk must not end the reports, let alone the server.
                write_status(self._state_dir / f"{self._settings.name}.json", self._status())
            await asyncio.sleep(_STATUS_PERIOD_S)

    def _status(self) -> ServingStatus:
        models, live = self.models, self.models.live
        return ServingStatus(
            pid=os.getpid(),
            time_ms=time.time_ns() // 1_000_000,
            address=self.address,
            admin_address=self.admin_address,
            is_full_quality=self.health.is_full,
            model_version="" if live is None else live.version,
            newest_broker_time_ms=0 if live is None else live.manifest.newest_broker_time_ms,
            loaded_time_ms=0 if live is None else models.records.status_of(live.version).loaded_time_ms,
            is_following=models.order is None,
            follow_reason="" if models.order is None else models.order.reason,
            swaps=models.records.swaps,
            refused=models.records.refused,
            is_behind=models.is_behind,
            last_refusal=models.records.last_refusal,
            deltas_applied=models.stats.deltas_applied,
            resyncs=models.stats.resyncs,
            delta_apply_ms=models.stats.apply_ms,
            delta_to_serving_s=models.stats.behind_s,
            readers_waited_for=models.stats.readers_waited_for,
            readers_left_behind=models.stats.readers_left_behind,
            requests=self.times.requests,
            degraded=self.times.degraded,
            stages_ms=self.times.percentiles_ms(),
            stages_cpu_us=self.times.cpu_us(),
            served_log_sent=self.writer.sent,
            served_log_dropped=self.writer.dropped,
            refused_requests=dict(self.admission.refused),
            rules=len(self.rules.current.rules),
            rules_refusal=self.rules.refusal,
            experiment=self._settings.serving.experiment,
            experiment_reason=self.experiment.reason,
            arms={} if self.arms.running is None else {a.name: a.lists for a in self.arms.running.arms.values()},
            items_known=len(self.items.table),
            feature_offsets=self.items.next_offsets(),
        )


def decode_announcement(record: Any) -> Announcement | None:
    """Decode one record of `headrace.models.v1`; tombstones and unreadable ones are skipped."""
    if record.value is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=Announcement)
    except msgspec.DecodeError as error:
        logger.warning("skipped announcement at offset %d: %s", record.offset, error)
        return None


async def run_server(settings: ServerSettings, is_stopping: asyncio.Event) -> None:
    """Serve until told to stop.

    Raises:
        StartupError: the server cannot start as told.
    """
    torch.set_num_threads(1)  # Lists are small: more threads only fight the event loop for the cores.
    server = Server(settings, Connections.of(settings))
    stopping = asyncio.create_task(is_stopping.wait())
    starting = asyncio.create_task(server.start())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print("READY server", flush=True)
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
        await server.stop()
