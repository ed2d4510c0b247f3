"""`Recommend` beside a bare grpc.aio echo of the same reply, in one run: `python tests/bench/bench_serving.py`.

Both servers run in processes of their own, the client in this one. The recommender is the real server on a real Redis
filled by Feast; only Kafka is a stand-in (served lists are encoded, then dropped). CPU by stage is that of the event
loop's thread while one call is in flight; what gRPC, the loop and the writer of served lists take is the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from compose.redis_server import redis_binary  # noqa: E402
from features.config import Endpoints, load_endpoints  # noqa: E402
from protos import serving_pb2 as pb  # noqa: E402
from protos import serving_pb2_grpc  # noqa: E402

NUM_USERS = 200
LIST_LENGTH = 20
EMBEDDING_DIM = 32


def main() -> int:
    """Run the bench, or one of its servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1682, help="items in the model")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="calls in flight")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--role", choices=["bench", "echo", "recommender"], default="bench", help=argparse.SUPPRESS)
    parser.add_argument("--endpoints", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "echo":
        asyncio.run(serve_echo())
    elif options.role == "recommender":
        asyncio.run(serve_recommender(load_endpoints(options.endpoints), options.items))
    else:
        run_bench(options)
    return 0


def run_bench(options: argparse.Namespace) -> None:
    """Start Redis and both servers, measure in turn, print the table."""
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as redis:
        state = Path(folder) / "state"
        dead = "127.0.0.1:1"
        endpoints = Endpoints(kafka=dead, redis=redis.address, model_store=str(state / "models"), state=str(state))
        path = Path(folder) / "endpoints.json"
        path.write_text(endpoints.model_dump_json())
        with ServerProcess("recommender", path, options.items) as recommender, ServerProcess("echo", path, 0) as echo:
            figures, stages_us = asyncio.run(measure_both(recommender, echo, options, state))
    print_table(figures, options.items)
    print_stages(stages_us, figures[0]["cpu_us"])
    print_last_line(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


async def measure_both(
    recommender: ServerProcess, echo: ServerProcess, options: argparse.Namespace, state: Path
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Measure echo and recommender at each number of calls in flight, one after the other; and CPU by stage at one."""
    await measure(echo.address, 1, 0.5)  # Warm: first connections, first torch calls.
    await measure(recommender.address, 1, options.seconds)
    await asyncio.sleep(1.5)  # The status file is written once a second.
    stages_us = json.loads((state / "serving.json").read_text())["stages_cpu_us"]
    figures = []
    for clients in options.clients:
        bare = await measure(echo.address, clients, options.seconds)
        before_s = recommender.cpu_s()
        real = await measure(recommender.address, clients, options.seconds)
        real["cpu_us"] = (recommender.cpu_s() - before_s) / (real["rps"] * options.seconds) * 1e6
        beside = {f"echo_{name}": figure for name, figure in bare.items()}
        figures.append({"clients": clients, **beside, **real, "ratio": real["rps"] / bare["rps"]})
    return figures, stages_us


async def measure(address: str, clients: int, seconds: float) -> dict[str, float]:
    """Keep `clients` calls in flight for `seconds`; return rps, latency percentiles and how many were degraded."""
    latencies_ms: list[float] = []
    degraded = 0
    deadline_s = time.perf_counter() + seconds

    async def ask(stub: Any, number: int) -> None:
        nonlocal degraded
        while (started_s := time.perf_counter()) < deadline_s:
            user_id = f"user-{(number * 7919 + len(latencies_ms)) % NUM_USERS}"
            reply = await stub.Recommend(pb.RecommendRequest(user_id=user_id, num_items=LIST_LENGTH))
            latencies_ms.append((time.perf_counter() - started_s) * 1000.0)
            degraded += bool(reply.degraded_reasons)
            assert len(reply.items) == LIST_LENGTH

    async with grpc.aio.insecure_channel(address) as channel:
        stub = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        await asyncio.gather(*(ask(stub, number) for number in range(clients)))
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return {
        "rps": len(latencies_ms) / seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "degraded": degraded / len(latencies_ms),
    }


def print_table(figures: list[dict[str, float]], items: int) -> None:
    """Print one line per number of calls in flight."""
    print(
        f"Recommend, {items} items in the model, {LIST_LENGTH} answered; beside a bare grpc.aio echo of the same reply"
    )
    print("| in flight | echo rps | Recommend rps | ratio | p50 ms | p99 ms | echo p99 ms | CPU us | degraded |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in figures:
        print(
            f"| {row['clients']} | {row['echo_rps']:.0f} | {row['rps']:.0f} | {row['ratio']:.3f} | {row['p50_ms']:.2f} "
            f"| {row['p99_ms']:.2f} | {row['echo_p99_ms']:.2f} | {row['cpu_us']:.0f} | {row['degraded']:.2%} |"
        )


def print_stages(stages_us: dict[str, float], total_us: float) -> None:
    """Print CPU by stage, and as the last line what all comes to."""
    print("| stage | CPU us a request |")
    print("|---|---|")
    for stage, cpu_us in stages_us.items():
        print(f"| {stage} | {cpu_us:.0f} |")
    print(f"| gRPC, event loop, served log, the rest | {total_us - sum(stages_us.values()):.0f} |")


def print_last_line(figures: list[dict[str, float]]) -> None:
    """Print the best of both sides, each at its own number of calls in flight."""
    best = max(row["rps"] for row in figures) / max(row["echo_rps"] for row in figures)
    print(f"ratio={best:.3f} p99_ms={figures[-1]['p99_ms']:.2f}")


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


async def serve_recommender(endpoints: Endpoints, num_items: int) -> None:
    """Run the real server over a filled store until killed."""
    # Only this process needs torch and Feast: the client stays small.
    import torch

    from serving.announcements import MODELS_TOPIC
    from serving.config import ServingConfig
    from serving.connections import Connections
    from serving.item_features import ITEMS_TOPIC, ROW_TOPICS
    from serving.server import Server
    from serving.server_settings import ServerSettings
    from serving.user_rows import RedisUserRows
    from tests.fakes import FakeBroker, FakeProducer
    from tests.serving.serving_parts import APP

    torch.set_num_threads(1)
    item_ids = tuple(f"item-{number:05d}" for number in range(num_items))
    fill_model_store(endpoints, item_ids)
    fill_users(endpoints, item_ids)
    broker = FakeBroker([ITEMS_TOPIC, *ROW_TOPICS, MODELS_TOPIC])
    settings = ServerSettings(APP, ServingConfig(deadline_ms=10_000), endpoints, "127.0.0.1:0")

    class DroppingProducer(FakeProducer):
        def send(self, topic: str, value: bytes | None = None, key: bytes | None = None) -> Any:
            sent = super().send(topic, value, key)
            self.records.clear()
            self.futures.clear()
            return sent

    user_rows = RedisUserRows(endpoints, APP)
    logging.basicConfig(level=logging.WARNING)
    server = Server(settings, Connections(user_rows, broker.connect, DroppingProducer))
    fill_items(server.items.table, item_ids)
    await server.start()
    print(f"READY {server.address}", flush=True)
    is_stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_stopping.set)
    await is_stopping.wait()
    await server.stop()


def fill_model_store(endpoints: Endpoints, item_ids: tuple[str, ...]) -> None:
    """Write one version with co-visitation of 128 neighbours."""
    from tests.serving.serving_parts import APP, make_version
    from trainer.version_files import write_version

    random = np.random.default_rng(1)
    shape = (len(item_ids), 128)
    version = dataclasses.replace(
        make_version("1.1", item_ids, dim=EMBEDDING_DIM),
        neighbours=random.integers(0, len(item_ids), size=shape, dtype=np.int32),
        weights=random.random(shape, dtype=np.float32),
        totals=np.full(len(item_ids), 100.0, dtype=np.float32),
    )
    write_version(Path(endpoints.model_store) / APP.name, version)


def fill_items(table: Any, item_ids: tuple[str, ...]) -> None:
    """Give items categories, some events and some lists that showed them."""
    from features.declared_table import CountedEvent

    random = np.random.default_rng(2)
    now_ms = time.time_ns() // 1_000_000
    for number, item_id in enumerate(item_ids):
        table.set_item(item_id, [f"genre-{number % 18}", f"genre-{number % 7}"], published_time_ms=now_ms - number)
    for row in random.integers(0, len(item_ids), size=20_000).tolist():
        event = CountedEvent("", "", item_ids[row], "click", None, now_ms - int(random.integers(0, 3_600_000)))
        table.add_event(row, event, 1)
    for start in range(0, len(item_ids), LIST_LENGTH):
        table.add_shown(item_ids[start : start + LIST_LENGTH], now_ms)


def fill_users(endpoints: Endpoints, item_ids: tuple[str, ...]) -> None:
    """Write rows and consumed sets of users with a full history and full exposure."""
    import pandas as pd
    from redis import Redis

    from features.apply import apply_features
    from features.consumed_items import consumed_key
    from features.store import open_store
    from tests.serving.serving_parts import APP

    store = open_store(endpoints, APP)
    apply_features(store, APP.features)
    host, _, port = endpoints.redis.partition(":")
    random = np.random.default_rng(3)
    now_ms = time.time_ns() // 1_000_000
    users = [f"user-{number}" for number in range(NUM_USERS)]
    history = [[item_ids[row] for row in random.integers(0, len(item_ids), size=50)] for _ in users]
    common = {"user_id": users, "event_timestamp": pd.Timestamp.now(tz="UTC")}
    counters = [[now_ms // 2_400_000, 9.0, 5.0, 1.0, 3.0, 2.0, 0.0] * len(APP.features.half_lives_s)] * NUM_USERS
    categories = [[f"genre-{number}" for number in range(18)]] * NUM_USERS
    frames = {
        "user_activity": {
            "user_counters": counters,
            "user_category_names": categories,
            "user_category_counts": [[now_ms // 3_456_000_000, 9.0, 5.0, 1.0, 3.0, 2.0, 0.0] * 18] * NUM_USERS,
            "user_history_item_ids": history,
            "user_history_actions": [["click"] * 50] * NUM_USERS,
            "user_history_times_ms": [[now_ms] * 50] * NUM_USERS,
            "user_history_outcomes": [[1] * 50] * NUM_USERS,
            "user_activity_event_time_ms": now_ms,
        },
        "user_exposure": {
            "user_shown_item_ids": [one * 4 for one in history],
            "user_shown_times_ms": [[now_ms] * 200] * NUM_USERS,
            "user_exposure_event_time_ms": now_ms,
        },
    }
    for view, columns in frames.items():
        store.write_to_online_store(view, pd.DataFrame({**common, **columns}))
    with Redis(host, int(port)) as client, client.pipeline() as pipeline:
        for user, items in zip(users, history, strict=True):
            pipeline.zadd(consumed_key(APP.name, user), dict.fromkeys(items, now_ms))
        pipeline.execute()


class RedisProcess:
    """A Redis of this bench.

    Args:
        folder: where it may write.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        command = [str(redis_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def __enter__(self) -> RedisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


class ServerProcess:
    """One of the two servers.

    Args:
        role: which one.
        endpoints: the endpoints file.
        items: items in the model.
    """

    def __init__(self, role: str, endpoints: Path, items: int) -> None:
        command = [sys.executable, __file__, "--role", role, "--endpoints", str(endpoints), "--items", str(items)]
        # One thread a process, as `headrace up` starts them: idle BLAS threads spin on the other cores.
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self._usage = psutil.Process(self._process.pid)
        assert self._process.stdout is not None
        self.address = ""
        for line in self._process.stdout:
            if line.startswith("READY "):
                self.address = line.split()[1]
                break
        if not self.address:
            raise RuntimeError(f"the {role} server ended before it was ready; its reason stands above")

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
    sys.exit(main())
