"""One server process: start, serve, shut down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import torch
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from features.blas_threads import limit_blas_threads
from features.model_inputs import feature_schema_hash
from features.security.metrics_port import MetricsPort, open_metrics_port
from features.security.role import Role
from features.security.token_file import Tokens
from features.warm_up import warm_up
from protos import serving_pb2_grpc
from serving.admin import AdminServicer
from serving.admission import Admission
from serving.announcements import MODELS_TOPIC, decode_announcement
from serving.arms.arm import Arm
from serving.arms.arm_table import ArmTable
from serving.arms.canary import Canaries
from serving.arms.declared import DeclaredExperiment
from serving.cached_snapshots import open_snapshots
from serving.calm_collector import calm_collector
from serving.checked_requests import CheckedServer
from serving.connections import Connections
from serving.delta_reader import DeltaReader
from serving.edge import Edge
from serving.feature_client import UserFeatures
from serving.health import Health
from serving.item_features import ItemFeatures
from serving.kafka_writer import KafkaWriter
from serving.model_builder import ModelBuilder
from serving.model_orders import ModelOrders
from serving.model_store import ModelStore
from serving.quota import Quota
from serving.recommender import Recommender
from serving.rules_file import RulesFile
from serving.security.operator_tokens import make_operator_tokens, operator_files
from serving.security.request_tokens import RequestTokens
from serving.served_log import ServedLog
from serving.server_settings import ServerSettings
from serving.server_status import ServerStatus
from serving.servicer import RecommenderServicer
from serving.stage_times import StageTimes
from serving.standing_order import StandingOrderFile
from serving.status_file import ServingStatus, write_status
from serving.store_health import StoreHealth
from serving.topic_reader import TopicReader
from serving.tracing import Tracing
from serving.workers.shared_buckets import SharedBuckets

logger = logging.getLogger(__name__)

_STATUS_PERIOD_S = 1.0
_ANNOUNCEMENTS_S = 2.0
_WRITER_STOP_S = 2.5
_REFLECTED = ("headrace.serving.v1.Recommender", "grpc.health.v1.Health", reflection.SERVICE_NAME)


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
        app, serving = settings.app, settings.serving
        self._settings = settings
        self._user_rows = connections.user_rows
        self.users = UserFeatures(connections.user_rows, app, serving)
        self.items = ItemFeatures(connections.connect_consumer, app.features)
        self.writer = KafkaWriter(connections.connect_producer, serving.served_log_queue)
        order_file = StandingOrderFile(settings.state_dir / f"{settings.name}-order.json")
        self.store_health = StoreHealth()
        snapshots = open_snapshots(settings, self.store_health)
        builder = ModelBuilder(snapshots, app.name, app.features, connections.connect_consumer)
        deltas = DeltaReader(connections.connect_consumer, app.name)
        self.models = ModelStore(
            *(snapshots, app.name, builder, self.items.table, order_file, deltas),
            index_items=serving.tower_index_items,
        )
        self.arms = ArmTable(Arm.outside(self.models, serving))
        self.experiment = DeclaredExperiment(serving, self.models, self.arms)
        self.canaries = Canaries(app, serving, self.models, self.arms, connections.connect_consumer)
        schema_hash = feature_schema_hash(app.features)
        self.orders = ModelOrders(self.models, self.writer, self.items.next_offsets, schema_hash, self.canaries)
        self._announcements = TopicReader(
            connections.connect_consumer, (MODELS_TOPIC,), decode_announcement, self.models.announce, batch_size=1000
        )
        self.times = StageTimes()
        self.tracing = Tracing(serving.tracing) if serving.tracing.is_enabled else None
        self.times.is_traced = self.tracing is not None
        self.rules = RulesFile(settings.rules_path, app)
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
            are_items_current=lambda: self.items.is_connected,
        )
        overload = serving.overload
        buckets = SharedBuckets(settings.quota_path) if settings.quota_path and overload.quota_per_s else None
        quota = Quota(overload.quota_per_s, overload.quota_burst_s, buckets)
        self.admission = Admission(overload, serving.max_user_reads, lambda: self.recommender.cost_s, quota)
        make_operator_tokens(settings.state_dir)
        self.tokens = Tokens(serving.security.tokens_path(settings.state_dir), operator_files(settings.state_dir))
        self.request_tokens = self._signer()
        if self.request_tokens is not None:
            self.times.registry.register(self.request_tokens)
        experiments = (self.arms, self.canaries)
        for collector in (
            self.rules,
            self.writer,
            self.admission,
            self.tokens,
            self.models.stats,
            self.models.indexes,
            self.store_health,
            *experiments,
        ):
            self.times.registry.register(collector)
        self.health = Health()
        self._told = ServerStatus(
            self.models,
            self.users,
            self.items,
            self.writer,
            self.times,
            self.admission,
            self.rules,
            self.health,
            serving.experiment,
            self.experiment,
            self.arms,
            self.canaries,
            self.store_health,
        )
        self._edge = Edge(serving, self.tokens, shares_port=settings.is_worker)
        self._grpc = self._edge.make_server()
        self._admin_grpc: Any = None
        self.address = "" if settings.is_worker else self._listen()
        self.metrics: MetricsPort | None = None
        if not settings.is_worker:
            self.metrics = open_metrics_port(
                settings.metrics_address,
                self.times.registry,
                self.tokens,
                serving.security.tls,
                settings.state_dir / f"{settings.name}.json",
            )
        self.admin_address = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def load(self) -> None:
        """Start every part behind the ports; return when requests could be answered, by the fallback at least.

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
        self._follow(self._user_rows.keep_open(), "keep Redis open")
        if not await catching_up:
            logger.warning("item features are not read to the end yet; serving with %d items", len(self.items.table))
        try:
            self.recommender.prepare()
        except Exception:  # Requests try it again, and are answered without it.
            logger.exception("could not sum up the catalogue")

    async def open(self) -> None:
        """Let requests in.

        Raises:
            StartupError: a worker's address cannot be used.
        """
        if not self.address:  # A port that is shared is given calls from its binding on, so that comes last.
            self.address = self._listen()
        await self._grpc.start()
        if self._admin_grpc is not None:
            await self._admin_grpc.start()
        if self.metrics is not None:
            self.metrics.start()
        await self.health.can_answer()
        self._follow(self._report(), "report status")
        self._follow(self.rules.follow(self._settings.serving.rules_check_s), "rules")
        self._follow(self.tokens.follow(self._settings.serving.security.tokens_check_s), "tokens")
        if self.request_tokens is not None:
            self._follow(self.request_tokens.follow(self._settings.request_tokens.check_s), "request keys")
        logger.info("serving on %s, admin on %s", self.address, self.admin_address or "no port")

    async def start(self) -> None:
        """Load, then let requests in.

        Raises:
            StartupError: an address cannot be used.
        """
        await self.load()
        await self.open()

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
        await asyncio.gather(self.experiment.stop(), self.canaries.close())
        await asyncio.gather(self.models.stop(), self._announcements.stop(), self.items.stop())
        await asyncio.to_thread(self.writer.stop, _WRITER_STOP_S)
        self._user_rows.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def status(self) -> ServingStatus:
        """Return what the status file says."""
        return self._told.now(self.address, self.admin_address)

    def _listen(self) -> str:
        return self._edge.listen(self._grpc, self._settings.address, "--address", Role.RECOMMEND)

    def _follow(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _add_services(self) -> None:
        settings = self._settings
        servicer = RecommenderServicer(
            self.recommender, settings.app, settings.serving, self.admission, self.request_tokens, self.tracing
        )
        checked = CheckedServer(self._grpc)
        serving_pb2_grpc.add_RecommenderServicer_to_server(servicer, checked)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, checked)
        if self._settings.serving.reflection:
            reflection.enable_server_reflection(_REFLECTED, self._grpc)
        if self._settings.admin_address:
            self._add_admin()

    def _signer(self) -> RequestTokens | None:
        """Return what signs answers; None where request tokens are off."""
        config = self._settings.request_tokens
        return RequestTokens(config.keys_path(self._settings.state_dir)) if config.is_enabled else None

    def _add_admin(self) -> None:
        """Put ModelAdmin on its own port."""
        server = self._admin_grpc = self._edge.make_server()
        admin = AdminServicer(self.orders, self._settings.app.name, self.writer)
        checked = CheckedServer(server)
        serving_pb2_grpc.add_ModelAdminServicer_to_server(admin, checked)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, checked)
        self.admin_address = self._edge.listen(server, self._settings.admin_address, "--admin-address", Role.ADMIN)

    async def _report(self) -> None:
        """Keep the health of `headrace.full` and the status file current."""
        while True:
            await self.health.set_full(self._told.is_full_quality)
            if not self._settings.is_worker:
                with contextlib.suppress(OSError):  # A full disk must not end the reports, let alone the server.
                    write_status(self._settings.state_dir / f"{self._settings.name}.json", self.status())
            await asyncio.sleep(_STATUS_PERIOD_S)


async def run_server(settings: ServerSettings, is_stopping: asyncio.Event) -> None:
    """Serve until told to stop.

    Raises:
        StartupError: the server cannot start as told.
    """
    torch.set_num_threads(1)  # Lists are small: more threads only fight the event loop for the cores.
    limit_blas_threads(1)
    server = Server(settings, Connections.of(settings))
    stopping = asyncio.create_task(is_stopping.wait())
    starting = asyncio.create_task(server.start())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            calm_collector()
            print("READY server", flush=True)
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
        await server.stop()
