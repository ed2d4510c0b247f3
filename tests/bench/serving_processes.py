"""The servers that `bench_serving.py` measures, each in a process of its own: `serving_processes.py ROLE ...`.

`fill` writes what the others serve, then ends; `recommender` is the real server, `echo` answers every call with one
prepared reply of as many bytes. Both tell their address when they are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import psutil

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from features.config import Endpoints, load_endpoints  # noqa: E402
from protos import serving_pb2 as pb  # noqa: E402
from protos import serving_pb2_grpc  # noqa: E402
from tests.bench.served_world import (  # noqa: E402
    LIST_LENGTH,
    fill_items,
    fill_model_store,
    fill_users,
    made_item_ids,
)


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["fill", "echo", "recommender"])
    parser.add_argument("--endpoints", type=Path, required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--number", type=int, default=0, help="of the process")
    parser.add_argument("--clusters", type=int, default=0, help="centres of the item vectors that `fill` writes")
    options = parser.parse_args()
    endpoints = load_endpoints(options.endpoints)
    if options.role == "echo":
        asyncio.run(serve_echo())
    elif options.role == "recommender":
        asyncio.run(serve_recommender(endpoints, options.items, options.number))
    else:
        fill_model_store(endpoints, made_item_ids(options.items), options.clusters)
        fill_users(endpoints, made_item_ids(options.items))
        print("READY", flush=True)


class Echo(serving_pb2_grpc.RecommenderServicer):
    """Answers every call with one prepared reply."""

    def __init__(self) -> None:
        items = [
            pb.RankedItem(
                item_id=f"item-{place:05d}", score=-1.5 * place, position=place, source="covisitation", propensity=1
            )
            for place in range(LIST_LENGTH)
        ]
        self._reply = pb.RecommendResponse(
            request_id="0" * 32, items=items, model_version="1.1", model_age_s=1.5, served_time_ms=1_790_000_000_000
        )

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        """Return the prepared reply."""
        return self._reply


async def serve_echo() -> None:
    """Run the bare server until killed."""
    server = grpc.aio.server()
    serving_pb2_grpc.add_RecommenderServicer_to_server(Echo(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"READY 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def serve_recommender(endpoints: Endpoints, num_items: int, number: int) -> None:
    """Run the real server over the filled stores until told to stop."""
    # Only this process needs torch and Feast: the client stays small.
    import torch

    from serving.announcements import MODELS_TOPIC
    from serving.calm_collector import calm_collector
    from serving.config import ServingConfig
    from serving.connections import Connections
    from serving.item_features import ITEMS_TOPIC, ROW_TOPICS
    from serving.server import Server
    from serving.server_settings import ServerSettings
    from serving.user_rows import RedisUserRows
    from tests.fakes import FakeBroker, FakeProducer
    from tests.serving.serving_parts import APP
    from trainer.delta_chunks import TOPIC

    class DroppingProducer(FakeProducer):
        def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Any:
            sent = super().send(topic, value, key)
            self.records.clear()
            self.futures.clear()
            return sent

    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    broker = FakeBroker([ITEMS_TOPIC, *ROW_TOPICS, MODELS_TOPIC, TOPIC])
    serving = ServingConfig(deadline_ms=10_000)
    settings = ServerSettings(APP, serving, endpoints, "127.0.0.1:0", name=f"serving-{number}")
    server = Server(settings, Connections(RedisUserRows(endpoints, APP), broker.connect, DroppingProducer))
    fill_items(server.items.table, made_item_ids(num_items))
    await server.start()
    calm_collector()
    print(f"READY {server.address}", flush=True)
    is_stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_stopping.set)
    await is_stopping.wait()
    await server.stop()


class ServerProcess:
    """One process.

    Args:
        role: which one.
        endpoints: the endpoints file.
        items: items in the model.
        number: from 0, of processes alike.
        clusters: centres of the item vectors; 0 for none.
    """

    def __init__(self, role: str, endpoints: Path, items: int, number: int = 0, clusters: int = 0) -> None:
        command = [sys.executable, __file__, role, "--endpoints", str(endpoints), "--items", str(items)]
        command += ["--clusters", str(clusters)]
        # One thread a process, as `headrace up` starts them: idle BLAS threads spin on the other cores.
        self._process = subprocess.Popen(
            [*command, "--number", str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._usage = psutil.Process(self._process.pid)
        self._role = role
        self.address = ""

    def wait_until_ready(self) -> None:
        """Wait for its word.

        Raises:
            RuntimeError: it ended before.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("READY"):
                self.address = line.removeprefix("READY").strip()
                return
        raise RuntimeError(f"the {self._role} process ended before it was ready; its reason stands above")

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


if __name__ == "__main__":
    main()
