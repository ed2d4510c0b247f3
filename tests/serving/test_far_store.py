"""From the trainer's publisher through an S3 server to an answer: snapshots, deltas, and a store that dies."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from features.config import Endpoints
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.announcements import MODELS_TOPIC
from serving.config import ServingConfig
from serving.connections import Connections
from serving.server import Server
from serving.server_settings import ServerSettings
from serving.user_rows import RedisUserRows
from tests.fakes import FakeBroker, FakeProducer
from tests.serving.serving_parts import APP
from tests.store_places import S3Server, running_s3_server
from trainer.config import LearnerConfig
from trainer.delta_chunks import TOPIC as DELTAS_TOPIC
from trainer.online_learner import OnlineLearner
from trainer.publisher import Publisher
from trainer.snapshot import VersionLabel, build_cut, build_version
from trainer.version_files import ModelVersion, open_versions

DEAD = "127.0.0.1:1"
ITEMS = 12


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A real S3 protocol on a port."""
    with running_s3_server() as server:
        yield server


class BrokerTopics:
    """The topics of versions on a fake broker; see `VersionTopics`."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker

    def announce(self, key: str, value: bytes) -> None:
        """Write one announcement."""
        self._broker.append(MODELS_TOPIC, key.encode(), value)

    def send_delta(self, key: str, records: Sequence[bytes]) -> int:
        """Write one delta."""
        for record in records:
            self._broker.append(DELTAS_TOPIC, key.encode(), record)
        return self.deltas_end()

    def deltas_end(self) -> int:
        """Return where the next one will stand."""
        return len(self._broker.logs[DELTAS_TOPIC])

    def trim_deltas(self, offset: int) -> None:
        """Keep all."""


class Loop:
    """A learner with its publisher, and what a server needs to follow it.

    Args:
        directory: state of the server.
        s3: the store's server.
    """

    def __init__(self, directory: Path, s3: S3Server) -> None:
        self.config = s3.config.model_copy(update={"uri": f"s3://models/{directory.name.replace('_', '-')}"})
        self.broker = FakeBroker((MODELS_TOPIC, DELTAS_TOPIC))
        store = open_versions(self.config.uri, APP.name, self.config)
        self.publisher = Publisher(store, BrokerTopics(self.broker), 12, float("inf"))
        self.learner = OnlineLearner(APP, LearnerConfig(embedding_dim=8))
        for number in range(ITEMS):
            self._announce_item(number)
        endpoints = Endpoints(kafka=DEAD, redis=DEAD, model_store=str(directory / "models"), state=str(directory))
        self.settings = ServerSettings(
            APP, ServingConfig(catch_up_s=0.1), endpoints, "127.0.0.1:0", model_store=self.config
        )

    def publish(self, seq: int) -> None:
        """Publish what the learner is now, as the trainer does."""
        label = VersionLabel(APP.name, ModelVersion(1, seq), "", {}, time.time_ns() // 1_000_000)
        if self.publisher.needs_snapshot:
            self.publisher.publish(build_version(self.learner, label))
        else:
            self._announce_item(ITEMS + seq)
            self.publisher.publish_delta(build_cut(self.learner, label))
        self.publisher.wait(30.0)
        assert not self.publisher.has_unsent

    def server(self) -> Server:
        """Return a server that follows."""
        user_rows = RedisUserRows(self.settings.endpoints, APP)
        return Server(self.settings, Connections(user_rows, self.broker.connect, FakeProducer))

    def _announce_item(self, number: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.learner.builder.set_item(f"item-{number}", f"title {number}", ["c1"], published_time_ms=now_ms)


async def answer_of(server: Server) -> Any:
    """Ask for a list over gRPC."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        return await stub.Recommend(pb.RecommendRequest(user_id="ann", num_items=5), timeout=5)


async def until_served(server: Server, version: str) -> None:
    """Let the server follow until a version is live."""
    async with asyncio.timeout(20):
        while server.models.live is None or server.models.live.version != version:
            await asyncio.sleep(0.01)


async def test_what_is_published_into_s3_is_served_and_outlives_it(tmp_path: Path, s3_server: S3Server) -> None:
    """A server starts from the store and follows; with store and broker dead the next start serves the copy."""
    loop = Loop(tmp_path, s3_server)
    loop.publish(0)
    server = loop.server()
    await server.start()
    loop.publish(1)
    await until_served(server, "1.1")
    assert (await answer_of(server)).model_version == "1.1"
    await server.stop()
    loop.publisher.close()
    away = loop.config.model_copy(update={"endpoint_url": f"http://{DEAD}"})
    loop.settings = dataclasses.replace(loop.settings, model_store=away)
    loop.broker.is_dead = True
    alone = loop.server()
    await alone.start()
    reply = await answer_of(alone)
    status = alone.status()
    await alone.stop()
    assert (reply.model_version, len(reply.items)) == ("1.0", 5)
    assert f"cannot list s3://models/{tmp_path.name.replace('_', '-')}/{APP.name}" in status.store_error
