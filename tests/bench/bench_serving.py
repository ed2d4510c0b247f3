"""`Recommend` beside a bare grpc.aio echo of the same reply, in one run: `python tests/bench/bench_serving.py`.

Both are asked by the same client, with as many processes a side and calls in flight spread evenly over them. The
recommender is the real server on a real Redis filled by Feast; only Kafka is a stand-in (served lists are encoded, then
dropped). Each side counts at its own best number of calls in flight; p99 is that of calls that come at half of the
recommender's peak, whatever becomes of the answers. CPU by stage is that of the event loop's thread while one call is
in flight; what gRPC, the loop and the writer of served lists take is the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import grpc
import numpy as np

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from features.config import Endpoints  # noqa: E402
from protos import serving_pb2 as pb  # noqa: E402
from protos import serving_pb2_grpc  # noqa: E402
from tests.bench.open_loop import OpenLoop  # noqa: E402
from tests.bench.served_world import LIST_LENGTH, NUM_USERS, RedisProcess  # noqa: E402
from tests.bench.serving_processes import ServerProcess  # noqa: E402

Row = dict[str, float]


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--items", type=int, nargs="+", default=[200_000, 1_000_000, 20_000], help="items in the model, size by size"
    )
    parser.add_argument("--clusters", type=int, default=0, help="centres that item vectors lie around; 0: random ones")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes a side")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="calls in flight")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="times that each is measured; the best counts")
    parser.add_argument("--half-peak-s", type=float, default=15.0, help="length of that at half of the peak")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures: dict[int, Size] = {}
    for items in options.items:
        try:
            figures[items] = measured_size(items, options)
        except Exception:  # A size that this machine cannot hold must not cost what was measured of the others.
            traceback.print_exc()
            print(f"{items} items: not measured, for the reason above", flush=True)
        if options.json:
            options.json.write_text(json.dumps({of: size.rows for of, size in figures.items()}, indent=2))
    if options.items[-1] not in figures:
        return 1
    newest = figures[options.items[-1]].rows[-1]
    print(f"ratio={newest['best_ratio']:.3f} p99_ms={newest['half_peak_p99_ms']:.2f}")
    return 0 if len(figures) == len(options.items) else 1


@dataclass(frozen=True)
class Size:
    """What was measured with one number of items."""

    rows: list[Row]
    """One for each number of processes and of calls in flight; the last of a number of processes says most."""
    stages_us: dict[str, float]


def measured_size(items: int, options: argparse.Namespace) -> Size:
    """Serve so many items, measure, print the tables."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), items, max(options.workers), options.clusters) as (real, bare),
    ):
        stages_us = asyncio.run(stages_of(real[0], Path(folder) / "state" / "serving-0.json", options.seconds))
        rows: list[Row] = []
        for workers in options.workers:
            rows += asyncio.run(measure_both(real[:workers], bare[:workers], options))
            rows[-1] |= measure_half_peak(real[:workers], rows[-1]["best_rps"] / 2.0, options.half_peak_s)
    print_rows(rows, items)
    print_stages(stages_us, rows[0]["cpu_us"])
    return Size(rows, stages_us)


@contextmanager
def served(
    folder: Path, items: int, workers: int, clusters: int = 0
) -> Iterator[tuple[list[ServerProcess], list[ServerProcess]]]:
    """Start Redis, fill the stores, and start both sides."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisProcess(folder))
        state, dead = folder / "state", "127.0.0.1:1"
        endpoints = Endpoints(kafka=dead, redis=redis.address, model_store=str(state / "models"), state=str(state))
        path = folder / "endpoints.json"
        path.write_text(endpoints.model_dump_json())
        with ServerProcess("fill", path, items, clusters=clusters) as filling:
            filling.wait_until_ready()
        sides = []
        for role in ("recommender", "echo"):
            side = [stack.enter_context(ServerProcess(role, path, items, number)) for number in range(workers)]
            for process in side:
                process.wait_until_ready()
            sides.append(side)
        yield sides[0], sides[1]


async def stages_of(server: ServerProcess, status: Path, seconds: float) -> dict[str, float]:
    """Return CPU by stage of a server that one call at a time is made to, as its status file tells."""
    await measure([server], 1, seconds)
    await asyncio.sleep(1.5)  # The file is written once a second.
    stages: dict[str, float] = json.loads(status.read_text())["stages_cpu_us"]
    return stages


async def measure_both(
    real: Sequence[ServerProcess], bare: Sequence[ServerProcess], options: argparse.Namespace
) -> list[Row]:
    """Measure both sides at each number of calls in flight, in turn and several times; each side's best counts."""
    for side in (real, bare):  # Warm: first connections, first calls of every process.
        await measure(side, len(side), 0.5)
    rows: list[Row] = []
    for clients in options.clients:
        rounds = [
            (await measure(bare, clients, options.seconds), await measure(real, clients, options.seconds))
            for _ in range(options.rounds)
        ]
        echo, row = (max(of_side, key=itemgetter("rps")) for of_side in zip(*rounds, strict=True))
        beside = {f"echo_{name}": figure for name, figure in echo.items()}
        rows.append({"workers": len(real), "clients": clients, **row, **beside, "ratio": row["rps"] / echo["rps"]})
    best, best_echo = max(row["rps"] for row in rows), max(row["echo_rps"] for row in rows)
    rows[-1] |= {"best_rps": best, "best_echo_rps": best_echo, "best_ratio": best / best_echo}
    return rows


async def measure(side: Sequence[ServerProcess], clients: int, seconds: float) -> Row:
    """Keep `clients` calls in flight for `seconds`; return rps, latencies, CPU a request and how many were degraded."""
    latencies_ms: list[float] = []
    degraded, before_s = 0, sum(process.cpu_s() for process in side)
    deadline_s = time.perf_counter() + seconds

    async def ask(stub: Any, number: int) -> None:
        nonlocal degraded
        while (started_s := time.perf_counter()) < deadline_s:
            user_id = f"user-{(number * 7919 + len(latencies_ms)) % NUM_USERS}"
            reply = await stub.Recommend(pb.RecommendRequest(user_id=user_id, num_items=LIST_LENGTH))
            latencies_ms.append((time.perf_counter() - started_s) * 1000.0)
            degraded += bool(reply.degraded_reasons)
            assert len(reply.items) == LIST_LENGTH

    channels = [grpc.aio.insecure_channel(process.address) for process in side]
    stubs = [serving_pb2_grpc.RecommenderStub(channel) for channel in channels]  # type: ignore[no-untyped-call]
    await asyncio.gather(*(ask(stubs[number % len(stubs)], number) for number in range(clients)))
    await asyncio.gather(*(channel.close() for channel in channels))
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return {
        "rps": len(latencies_ms) / seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "cpu_us": (sum(process.cpu_s() for process in side) - before_s) / len(latencies_ms) * 1e6,
        "degraded": degraded / len(latencies_ms),
    }


def measure_half_peak(side: Sequence[ServerProcess], rate: float, seconds: float) -> Row:
    """Ask at an even rate from a process of its own; return what the answers took from when they were due."""
    calls = OpenLoop(",".join(process.address for process in side), rate, seconds).calls()
    latencies_ms = [call.ms for call in calls]
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return {
        "half_peak_rps": rate,
        "half_peak_p50_ms": float(p50),
        "half_peak_p99_ms": float(p99),
        "half_peak_lag_p99_ms": float(np.percentile([call.lag_ms for call in calls], 99)),
        "half_peak_invalid": float(sum(not call.is_valid for call in calls)),
    }


def print_rows(rows: list[Row], items: int) -> None:
    """Print one line per number of processes and of calls in flight, and what comes of each number of processes."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\nRecommend, {items} items in the model, {LIST_LENGTH} answered; load of the machine {load}")
    print("| processes | in flight | echo rps | Recommend rps | ratio | p50 ms | p99 ms | CPU us | echo's | degraded |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['workers']} | {row['clients']} | {row['echo_rps']:.0f} | {row['rps']:.0f} | {row['ratio']:.3f} "
            f"| {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['cpu_us']:.0f} | {row['echo_cpu_us']:.0f} "
            f"| {row['degraded']:.2%} |"
        )
    for row in rows:
        if "best_ratio" in row:
            print(
                f"{row['workers']} process(es) a side, each side at its best: {row['best_rps']:.0f} of "
                f"{row['best_echo_rps']:.0f} answers/s, ratio {row['best_ratio']:.3f}; at half of that peak p50 "
                f"{row['half_peak_p50_ms']:.2f}, p99 {row['half_peak_p99_ms']:.2f} ms (client late by "
                f"{row['half_peak_lag_p99_ms']:.2f} at p99), {row['half_peak_invalid']:.0f} invalid"
            )


def print_stages(stages_us: dict[str, float], total_us: float) -> None:
    """Print CPU by stage, and as the last line what all comes to."""
    print("| stage | CPU us a request, one in flight |")
    print("|---|---|")
    for stage, cpu_us in stages_us.items():
        print(f"| {stage} | {cpu_us:.0f} |")
    print(f"| gRPC, event loop, served log, the rest | {total_us - sum(stages_us.values()):.0f} |")


if __name__ == "__main__":
    sys.exit(main())
