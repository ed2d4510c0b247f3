"""A small served world: versions on disk, a fake user store, and a real grpc.aio server over them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from features.config import ActionConfig, AppConfig, SurfaceConfig
from features.item_table import ItemTable
from features.model_inputs import feature_schema_hash, pre_ranker_input_names, ranker_input_names
from features.security.role import Role
from features.security.token_file import Tokens
from features.title_index import MAX_TOKENS
from protos import serving_pb2_grpc
from serving.admin import AdminServicer
from serving.admission import Admission
from serving.announcements import Announcement
from serving.answers import RecommendQuery
from serving.arms.arm import Arm
from serving.arms.arm_table import ArmTable
from serving.arms.canary import Canaries
from serving.arms.feedback import SAMPLES_TOPIC
from serving.config import ServingConfig
from serving.delta_reader import DeltaReader
from serving.feature_client import UserFeatures
from serving.kafka_writer import KafkaWriter
from serving.model_builder import ModelBuilder
from serving.model_orders import ModelOrders
from serving.model_store import ModelStore
from serving.recommender import Recommender
from serving.rules import RulesConfig
from serving.security.guard import Guard
from serving.security.operator_tokens import operator_file
from serving.security.request_tokens import RequestTokens
from serving.served_log import ServedList
from serving.servicer import RecommenderServicer
from serving.snapshots import LocalSnapshots, Snapshots
from serving.stage_times import StageTimes
from serving.stages.by_arm import ArmStages
from serving.standing_order import StandingOrderFile
from serving.tracing import Tracing
from tests.fakes import FakeBroker, FakeProducer
from trainer.delta_chunks import TOPIC
from trainer.model import Model
from trainer.version_files import Manifest, Version, write_version

APP = AppConfig(
    actions={"click": ActionConfig(outcome="positive")},
    surfaces={"default": SurfaceConfig(), "probe": SurfaceConfig(learn=False)},
)
ITEM_IDS = tuple(f"item-{number:03d}" for number in range(60))
TOKEN = "a-test-token"
"""The operator's, for ModelAdmin."""
PATIENT = ServingConfig(deadline_ms=60_000)
READER_WAIT_S = 0.2
SCORE_STEP = 1000.0
"""Versions tell themselves by their scores: EPOCH.SEQ scores everything near SEQ * 1000."""


def make_version(name: str, item_ids: tuple[str, ...] = ITEM_IDS, dim: int = 4, **changes: Any) -> Version:
    """Build a small version whose scores name it; `changes` go into the manifest."""
    random = np.random.default_rng(7)
    num_inputs = len(ranker_input_names(APP.features))
    dense = Model(dim, num_inputs, len(pre_ranker_input_names(APP.features))).dense()
    dense["ranker.bias"][:] = SCORE_STEP * int(name.partition(".")[2])
    canary_inputs = random.normal(size=(8, num_inputs)).astype(np.float32)
    vectors = random.normal(size=(len(item_ids), dim)).astype(np.float32)
    manifest = Manifest(
        name=APP.name,
        version=name,
        created_time_ms=time.time_ns() // 1_000_000,
        feature_schema_hash=feature_schema_hash(APP.features),
        canary_scores=tuple(Model.from_dense(dense).rank(canary_inputs).tolist()),
    )
    return Version(
        manifest=Manifest(**{**{f: getattr(manifest, f) for f in manifest.__struct_fields__}, **changes}),
        dense=dense,
        item_ids=list(item_ids),
        item_vectors=vectors,
        user_ids=["ann"],
        user_embedding=np.ones((1, dim), dtype=np.float32),
        neighbours=np.full((len(item_ids), 3), -1, dtype=np.int32),
        weights=np.zeros((len(item_ids), 3), dtype=np.float32),
        totals=np.zeros(len(item_ids), dtype=np.float32),
        successors=np.full((len(item_ids), 3), -1, dtype=np.int32),
        successor_weights=np.zeros((len(item_ids), 3), dtype=np.float32),
        successor_totals=np.zeros(len(item_ids), dtype=np.float32),
        title_tokens=np.full((len(item_ids), MAX_TOKENS), -1, dtype=np.int32),
        seen_ms=np.zeros((len(item_ids), 2), dtype=np.int64),
        canary_inputs=canary_inputs,
    )


@dataclass
class FakeUserRows:
    """User rows by id, and ways to fail."""

    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    consumed: dict[str, Set[str]] = field(default_factory=dict)
    error: Exception | None = None
    reads: int = 0
    is_open: bool = True

    async def read(self, user_id: str) -> tuple[Mapping[str, Any], Set[str]]:
        """Return row and consumed items, or fail as told."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.rows.get(user_id, {}), self.consumed.get(user_id, frozenset())


@dataclass
class FakeServedLog:
    """Keeps served lists."""

    lists: list[ServedList] = field(default_factory=list)

    def put(self, served: ServedList) -> None:
        """Keep one list."""
        self.lists.append(served)


class World:
    """All parts of a server but Kafka, Redis and Feast.

    Args:
        directory: where the model store and the order file go.
        config: of the server; requests have long deadlines unless it says otherwise, as machines are busy.
        snapshots: of the model; those in `store_dir` by default.
    """

    def __init__(self, directory: Path, config: ServingConfig = PATIENT, snapshots: Snapshots | None = None) -> None:
        self.directory = directory
        self.store_dir = directory / "models" / APP.name
        self.snapshots = snapshots or LocalSnapshots(self.store_dir)
        self.items = ItemTable(APP.features)
        self.rows = FakeUserRows()
        self.users = UserFeatures(self.rows, APP, config)
        self.served = FakeServedLog()
        self.producer = FakeProducer()
        self.writer = KafkaWriter(lambda: self.producer, 100)
        order_file = StandingOrderFile(directory / "order.json")
        self.broker = FakeBroker([TOPIC, SAMPLES_TOPIC])
        builder = ModelBuilder(self.snapshots, APP.name, APP.features, self.broker.connect)
        deltas = DeltaReader(self.broker.connect, APP.name)
        self.models = ModelStore(
            *(self.snapshots, APP.name, builder, self.items, order_file, deltas, READER_WAIT_S),
            index_items=config.tower_index_items,
        )
        self.config = config
        self.admission = Admission(config.overload, config.max_user_reads, lambda: self.recommender.cost_s)
        self.rules = RulesConfig()
        self.times = StageTimes()
        self.arms = ArmTable(Arm.outside(self.models, config))
        self.canaries = Canaries(APP, config, self.models, self.arms, self.broker.connect)
        self.request_tokens: RequestTokens | None = None
        self.tracing: Tracing | None = None
        self.are_items_current = True
        self.recommender = Recommender(
            APP,
            config,
            self.models,
            self.users,
            self.items,
            self.served,
            self.times,
            lambda: self.rules,
            arms=self.arms,
            are_items_current=lambda: self.are_items_current,
        )

    @property
    def stages(self) -> ArmStages:
        """Return the stages of users outside any experiment."""
        return self.recommender._stages.of(self.arms.default)

    def query(self, num_items: int = 10, **changes: Any) -> RecommendQuery:
        """Return what ann asks."""
        return RecommendQuery("ann", num_items, **changes)

    def rules_of(self, **rules: dict[str, Any]) -> RulesConfig:
        """Return rules by name."""
        return RulesConfig.model_validate({"rules": rules})

    def write(self, name: str, **changes: Any) -> Announcement:
        """Write a version and return its announcement."""
        digest = write_version(self.store_dir, make_version(name, **changes))
        return Announcement(APP.name, name, digest)

    def announcement(self, name: str) -> Announcement:
        """Return the announcement of a version that was written."""
        manifest = (self.store_dir / name / "manifest.json").read_bytes()
        return Announcement(APP.name, name, hashlib.sha256(manifest).hexdigest())

    async def serve(self, *names: str) -> None:
        """Write versions and serve each in turn."""
        for name in names:
            self.write(name)
            await self.models.load(name)

    @asynccontextmanager
    async def recommender_stub(self) -> AsyncIterator[Any]:
        """Run `Recommender` behind a real server on port 0."""
        server = grpc.aio.server()
        servicer = RecommenderServicer(
            self.recommender, APP, self.config, self.admission, self.request_tokens, self.tracing
        )
        serving_pb2_grpc.add_RecommenderServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        async with _running(server) as address, grpc.aio.insecure_channel(address) as channel:
            yield serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def admin_stub(self) -> AsyncIterator[Any]:
        """Run `ModelAdmin` behind its token on port 0, and connect to it."""
        async with self.admin() as address, grpc.aio.insecure_channel(address) as channel:
            yield serving_pb2_grpc.ModelAdminStub(channel)  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[str]:
        """Run `ModelAdmin` behind its token on port 0; give its address."""
        token_path = operator_file(self.directory, Role.ADMIN)
        token_path.write_text(TOKEN)
        tokens = Tokens(self.directory / "tokens.json", {Role.ADMIN: token_path})
        server = grpc.aio.server(interceptors=(Guard(tokens),))
        orders = ModelOrders(self.models, self.writer, lambda: {"items:0": 5}, "a-schema", self.canaries)
        servicer = AdminServicer(orders, APP.name, self.writer)
        serving_pb2_grpc.add_ModelAdminServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
        async with _running(server) as address:
            yield address


@asynccontextmanager
async def _running(server: Any) -> AsyncIterator[str]:
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def corrupt(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
