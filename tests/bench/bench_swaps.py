"""Swaps under load, every answer held to one version: `python tests/bench/bench_swaps.py --swaps 1000`.

Real Kafka, real Redis, the real publisher in a process of its own, and a real server of several workers. The tensors of
every version tell its number (`tests/bench/version_code.py`), so an answer's scores prove of which version each of
them was. Deltas come one after the other, each when all workers serve the one before; now and then a whole version
opens a new chain, as after a restart of the trainer. Spells with swaps and without take turns, so that whatever else
the machine does weighs on both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from redis import Redis  # noqa: E402

from compose.local_stack import LocalStack  # noqa: E402
from features.config import AppConfig, Endpoints, load_app_config, load_endpoints  # noqa: E402
from features.feast_rows import FeastRows, feast_project  # noqa: E402
from features.feature_topics import FeatureRow  # noqa: E402
from features.security.role import Role  # noqa: E402
from protos import serving_pb2 as pb  # noqa: E402
from protos import serving_pb2_grpc  # noqa: E402
from serving.security.operator_tokens import read_operator_token  # noqa: E402
from tests.bench.version_code import USERS, is_of_one_version, row_of  # noqa: E402

LIST_LENGTH = 20
PARTS = ("kafka", "redis", "topics")
SERVING = """
serving:
  deadline_ms: 60000
  feature_read_ms: 30000
  catch_up_s: 30
"""
"""Time is not what is tested: a request that is cut short tells nothing of versions."""
_READY_S = 600.0


@dataclass
class Figures:
    """What was seen."""

    latencies_ms: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    """Of spells without and with swaps."""
    failed: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)
    degraded: Counter[str] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    """That answered."""

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(map(len, self.latencies_ms.values())) + sum(self.failed.values())

    def p99_ms(self, is_swapping: bool) -> float:
        """Of one kind of spell."""
        found = self.latencies_ms[is_swapping]
        return float(np.percentile(found, 99)) if found else float("nan")


def main() -> int:
    """Run the bench, or its publisher; exit code 1 where a request failed or an answer mixed versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="answers at least")
    parser.add_argument("--swaps", type=int, default=1_000, help="versions after the first; whole ones among them")
    parser.add_argument("--snapshot-every", type=int, default=50, help="versions of a chain, the first one whole")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop then, whatever is done; 0 is no limit")
    parser.add_argument("--items", type=int, default=20_000, help="items in the model")
    parser.add_argument("--workers", type=int, default=2, help="processes of the server")
    parser.add_argument("--clients", type=int, default=4, help="calls in flight, each on a connection of its own")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between versions at least, as shipped")
    parser.add_argument("--spell", type=float, default=10.0, help="seconds with swaps, then as many without")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--role", choices=["bench", "publisher"], default="bench", help=argparse.SUPPRESS)
    parser.add_argument("--endpoints", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "publisher":
        publish(options)
        return 0
    return run_bench(options)


def run_bench(options: argparse.Namespace) -> int:
    """Start everything, ask, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "headrace.yaml"
        config.write_text(_without_serving((ROOT / "headrace.yaml").read_text()) + SERVING)
        with LocalStack(config, folder / "state", parts=PARTS) as stack:
            endpoints = stack.start()
            write_users(load_app_config(config), endpoints)
            with Publisher(stack.endpoints_path, config, options) as publisher:
                with server(folder, stack.endpoints_path, config, options) as process:
                    publisher.next_version()
                    wait_for_ready(process, folder)
                    figures = asyncio.run(ask(endpoints, publisher, options))
                    memory = memory_of(process)
                told = {
                    "swaps": publisher.published - 1,
                    "snapshots": publisher.whole - 1,
                    "delta_bytes": publisher.delta_bytes,
                }
    return report(figures, told, memory, options)


def report(
    figures: Figures, told: dict[str, int], memory: list[tuple[str, float, float]], options: argparse.Namespace
) -> int:
    """Print what was seen; the last line says it in short."""
    steady_ms, swapping_ms = figures.p99_ms(False), figures.p99_ms(True)
    for text in figures.mixed[:5]:
        print(f"mixed: {text}")
    for reason, count in figures.failed.most_common(5):
        print(f"failed {count} times: {reason}")
    print("| process | RSS MB | PSS MB |\n|---|---|---|")
    for process, rss_mb, pss_mb in memory:
        print(f"| {process} | {rss_mb:.0f} | {pss_mb:.0f} |")
    print(
        f"{figures.requests} requests over {options.workers} workers, {options.items} items, "
        f"{options.clients} in flight; "
        f"{told['swaps']} swaps of every worker, {told['snapshots']} of them whole versions, "
        f"{told['delta_bytes'] / 1e6:.2f} MB a delta; {len(figures.versions)} versions answered; "
        f"{sum(figures.degraded.values())} answers below full quality"
    )
    for is_swapping, spell in ((False, "steady"), (True, "swapping")):
        found = figures.latencies_ms[is_swapping] or [float("nan")]
        p50_ms, p99_ms = np.percentile(found, (50, 99))
        print(f"{spell}: {len(found)} answers, p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms")
    failed, mixed = sum(figures.failed.values()), len(figures.mixed)
    if options.json:
        summary: dict[str, float] = {"requests": figures.requests, "failed": failed, "mixed": mixed, **told}
        summary |= {"steady_p99_ms": steady_ms, "swapping_p99_ms": swapping_ms}
        options.json.write_text(json.dumps(summary, indent=2))
    print(f"failed={failed} mixed={mixed} p99_ratio={swapping_ms / steady_ms:.2f}")
    return 1 if failed or mixed or not figures.versions else 0


async def ask(endpoints: Endpoints, publisher: Publisher, options: argparse.Namespace) -> Figures:
    """Keep calls in flight until there were enough of them and of swaps."""
    figures, state = Figures(), Path(endpoints.state)
    is_swapping = False
    has_ended = asyncio.Event()

    async def keep_asking(number: int) -> None:
        options_of_channel = [("grpc.use_local_subchannel_pool", 1), ("headrace.number", number)]
        async with grpc.aio.insecure_channel(endpoints.serving, options=options_of_channel) as channel:
            stub = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
            while not has_ended.is_set():
                await ask_once(stub, figures, is_swapping)

    started_s = float("inf")

    def has_enough() -> bool:
        if options.minutes and time.monotonic() - started_s > 60.0 * options.minutes:
            return True
        return bool(publisher.published > options.swaps and figures.requests >= options.requests)

    metadata = (("authorization", f"Bearer {read_operator_token(state, Role.ADMIN)}"),)
    async with grpc.aio.insecure_channel(endpoints.admin) as channel:
        admin: Any = serving_pb2_grpc.ModelAdminStub(channel)  # type: ignore[no-untyped-call]
        await until_served(admin, metadata, publisher.version)
        started_s = time.monotonic()
        askers = [asyncio.create_task(keep_asking(number)) for number in range(options.clients)]
        try:
            while not has_enough():
                is_swapping = not is_swapping and publisher.published <= options.swaps
                spell_ends_s = time.monotonic() + options.spell
                while time.monotonic() < spell_ends_s and not has_enough():
                    if not is_swapping or publisher.published > options.swaps:
                        await asyncio.sleep(0.2)
                        continue
                    next_s = time.monotonic() + options.interval
                    version = await asyncio.to_thread(publisher.next_version)
                    await until_served(admin, metadata, version)
                    await asyncio.sleep(max(0.0, next_s - time.monotonic()))
        finally:
            has_ended.set()
            await asyncio.gather(*askers)
    return figures


async def ask_once(stub: Any, figures: Figures, is_swapping: bool) -> None:
    """Ask and judge the answer."""
    user_id = USERS[figures.requests % len(USERS)]
    started_s = time.perf_counter()
    try:
        reply = await stub.Recommend(pb.RecommendRequest(user_id=user_id, num_items=LIST_LENGTH), timeout=60.0)
    except grpc.aio.AioRpcError as error:
        figures.failed[f"{error.code().name}: {error.details()}"] += 1
        return
    figures.latencies_ms[is_swapping].append((time.perf_counter() - started_s) * 1000.0)
    figures.versions.add(reply.model_version)
    if reply.degraded_reasons or len(reply.items) != LIST_LENGTH:
        figures.degraded[", ".join(reply.degraded_reasons) or f"{len(reply.items)} items"] += 1
        figures.failed[f"not a full answer: {list(reply.degraded_reasons)}, {len(reply.items)} items"] += 1
        return
    scores = {row_of(item.item_id): item.score for item in reply.items}
    if not is_of_one_version(reply.model_version, scores):
        figures.mixed.append(f"{reply.model_version} to {user_id}: {scores}")


async def until_served(admin: Any, metadata: Any, version: str) -> None:
    """Wait until every worker serves a version."""
    async with asyncio.timeout(_READY_S):
        while True:
            status = await admin.GetModelStatus(pb.GetModelStatusRequest(), metadata=metadata)
            if all(worker.live_version == version for worker in status.workers) and status.live.version == version:
                return
            await asyncio.sleep(0.02)


def publish(options: argparse.Namespace) -> None:
    """Publish a version for each line that comes in, and say its name; the real publisher and topics."""
    from tests.bench.encoded_versions import EncodedVersions
    from trainer.config import LearnerConfig
    from trainer.publisher import Publisher as RealPublisher
    from trainer.version_files import LocalVersions, ModelVersion
    from trainer.version_topics import KafkaVersionTopics

    app, endpoints = load_app_config(options.config), load_endpoints(options.endpoints)
    made = EncodedVersions(app.name, app.features, options.items, LearnerConfig().embedding_dim)
    topics = KafkaVersionTopics(endpoints.kafka, app.name)
    publisher = RealPublisher(LocalVersions(Path(endpoints.model_store) / app.name), topics, 2, float("inf"))
    for n, _ in enumerate(sys.stdin):
        version = ModelVersion(1 + n // options.snapshot_every, n)
        if n % options.snapshot_every == 0:
            publisher.publish(made.version(version))
        else:
            publisher.publish_delta(made.cut(version))
        publisher.wait(60.0)
        if publisher.failed or publisher.has_unsent:
            raise SystemExit(f"{version} was not published; the reason stands above")
        print(f"PUBLISHED {version} {publisher.last_delta_bytes}", flush=True)
    publisher.close()
    topics.close()


class Publisher:
    """The publisher's process.

    Args:
        endpoints: the endpoints file.
        config: the app.
        options: of the bench.
    """

    def __init__(self, endpoints: Path, config: Path, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--role", "publisher", "--endpoints", str(endpoints)]
        command += ["--config", str(config), "--items", str(options.items)]
        command += ["--snapshot-every", str(options.snapshot_every)]
        self._every = options.snapshot_every
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        self.published = 0
        self.version = ""
        """The newest."""
        self.delta_bytes = 0
        """Of the newest."""

    @property
    def whole(self) -> int:
        """How many of them were whole versions."""
        return int(-(-self.published // self._every))

    def next_version(self) -> str:
        """Publish one more and return its name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("PUBLISHED "):
                self.published += 1
                self.version, self.delta_bytes = line.split()[1], int(line.split()[2])
                return self.version
        raise RuntimeError("the publisher ended; its reason stands above")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def server(folder: Path, endpoints: Path, config: Path, options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """Run the real server at the addresses of the endpoints file."""
    where = load_endpoints(endpoints)
    command = [sys.executable, "-m", "serving", "--config", str(config), "--endpoints", str(endpoints)]
    command += ["--workers", str(options.workers), "--admin-address", where.admin]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_ready(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until all workers serve."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("READY server"):
            return
    raise RuntimeError(f"the server ended before it was ready:\n{(folder / 'server.log').read_text()}")


def memory_of(parent: subprocess.Popen[str]) -> list[tuple[str, float, float]]:
    """Return RSS and PSS of the server's processes in MB; PSS counts what several share in parts."""
    found = []
    for process in [psutil.Process(parent.pid), *psutil.Process(parent.pid).children()]:
        memory = process.memory_full_info()
        found.append(("parent" if process.pid == parent.pid else "worker", memory.rss / 1e6, memory.pss / 1e6))
    return found


def write_users(app: AppConfig, endpoints: Endpoints) -> None:
    """Give every user a history of one item, the first, as the ingester writes it."""
    now_ms = time.time_ns() // 1_000_000
    fields: dict[str, Any] = {
        "user_history_item_ids": ["item-000000"],
        "user_history_actions": ["click"],
        "user_history_times_ms": [now_ms],
        "user_history_outcomes": [1],
    }
    rows = FeastRows(feast_project(app))
    host, _, port = endpoints.redis.partition(":")
    with Redis(host, int(port)) as client:
        for user_id in USERS:
            row = FeatureRow("user_activity", user_id, fields, now_ms, now_ms, {})
            client.hset(rows.key(row.view, user_id), mapping=dict(rows.mapping(row, now_ms)))


def _without_serving(text: str) -> str:
    """Return a configuration without its `serving` section."""
    kept, is_in = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("serving:"):
            is_in = True
        elif is_in and line.strip() and not line.startswith((" ", "#")):
            is_in = False
        if not is_in:
            kept.append(line)
    return "".join(kept)


if __name__ == "__main__":
    sys.exit(main())
