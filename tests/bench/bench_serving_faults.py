"""The server while Redis or Kafka are killed, paused, black-holed or slow, and under ten times its load.

`python tests/bench/bench_serving_faults.py`: a real server on a real Redis and a real Kafka, each behind a proxy of its
own; calls come at half of the server's peak, whatever becomes of the answers. A line a fault, then one of the overload.

Flagged are answers with a degraded reason. Recovery is the time from the heal to the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from compose.config import StackConfig  # noqa: E402
from compose.headrace_parts import all_parts  # noqa: E402
from compose.local_stack import LocalStack  # noqa: E402
from compose.part import Part, StackLayout  # noqa: E402
from features.config import Endpoints, load_endpoints  # noqa: E402
from tests.bench.open_loop import Call, Manner, OpenLoop, answers_per_s  # noqa: E402
from tests.bench.served_world import fill_items, fill_model_store, fill_users  # noqa: E402
from tests.faults.tcp_proxy import ProxyProcess  # noqa: E402

PEAK_S, STEADY_S, HEALED_S, CALM_S = 4.0, 3.0, 6.0, 10.0
DEADLINE_S = 1.0
"""Of a call under overload: what is answered later helps nobody."""
SLOW_S = 0.1
"""Each way, so 200 ms more a round trip."""
FULL_QUALITY = "headrace.full"
BROKER = "broker"


def main() -> int:
    """Run the bench, or its server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="items in the model")
    parser.add_argument("--fault-s", type=float, default=8.0, help="length of each fault")
    parser.add_argument("--overload-s", type=float, default=60.0, help="length of the overload")
    parser.add_argument("--factor", type=float, default=10.0, help="of the peak, in the overload")
    parser.add_argument("--only", nargs="+", default=[], help="these lines only, for example redis-paused overload")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--redis", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(load_endpoints(options.serve), options.redis, options.items))
        return 0
    rows = run_bench(options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    return 0


def run_bench(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Start everything, do each fault once, print a line each."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), options.items) as bench:
        peak = max(asyncio.run(answers_per_s(bench.server, clients, PEAK_S)) for clients in (1, 8, 32))
        rate = peak / 2.0
        print(
            f"{options.items} items; peak {peak:.0f} answers/s, so {rate:.0f} calls/s; each fault {options.fault_s:g} s"
        )
        print("| fault | calls | valid | ranked by a model | flagged | p50 ms | p99 ms | client late p99 ms ", end="")
        print("| health told after s | recovery s | codes, reasons |")
        print("|" + "---|" * 11, flush=True)
        rows = []
        for name, fault, heal in bench.faults():
            if not options.only or name in options.only:
                rows.append(one_fault(bench, name, fault, heal, rate, options.fault_s))
                print_row(rows[-1])
        if not options.only or "overload" in options.only:
            rows.append(overload(bench, peak, options.factor, options.overload_s))
            print("  ".join(f"{key}={value}" for key, value in rows[-1].items()))
        return rows


def one_fault(
    bench: Bench, name: str, fault: Callable[[], None], heal: Callable[[], None], rate: float, fault_s: float
) -> dict[str, Any]:
    """Ask through one fault and say what came of it."""
    load = OpenLoop(bench.server, rate, STEADY_S + fault_s + HEALED_S)
    health = HealthWatch(bench.server)
    time.sleep(STEADY_S)
    began_s = time.monotonic()
    fault()
    time.sleep(max(0.0, began_s + fault_s - time.monotonic()))
    heal()
    healed_s = time.monotonic()
    calls = load.calls()
    down = health.stop()
    inside = [call for call in calls if began_s <= call.due_s < healed_s]
    told = [from_s for from_s, until_s in down if until_s > began_s and from_s < healed_s + HEALED_S]
    last = max((call.due_s for call in calls if call.due_s >= healed_s and call.reasons), default=healed_s)
    return {
        "fault": name,
        **figures(inside),
        "flagged": sum(bool(call.reasons) for call in inside) / len(inside),
        "told_s": max(0.0, min(told) - began_s) if told else float("nan"),
        "recovery_s": last - healed_s,
        "reasons": sorted({reason for call in inside for reason in call.reasons}),
        "codes": sorted({call.code for call in inside}),
    }


def figures(calls: Sequence[Call]) -> dict[str, float]:
    """Return what is told of calls."""
    p50, p99 = np.percentile([call.ms for call in calls], (50, 99))
    return {
        "calls": len(calls),
        "valid": sum(call.is_valid for call in calls) / len(calls),
        "ranked": sum(call.is_ranked for call in calls) / len(calls),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "late_p99_ms": float(np.percentile([call.lag_ms for call in calls], 99)),
    }


def print_row(row: dict[str, Any]) -> None:
    """Print one fault."""
    print(
        f"| {row['fault']} | {row['calls']} | {row['valid']:.2%} | {row['ranked']:.2%} | {row['flagged']:.2%} "
        f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} | {row['late_p99_ms']:.1f} | {row['told_s']:.1f} "
        f"| {row['recovery_s']:.2f} | {', '.join(row['codes'] + row['reasons'])} |",
        flush=True,
    )


def overload(bench: Bench, peak: float, factor: float, seconds: float) -> dict[str, Any]:
    """Ask far more than can be answered, half of it ahead of need; compare with half of the peak."""
    calm = figures(OpenLoop(bench.server, peak / 2.0, CALM_S).calls())
    calls = OpenLoop(bench.server, factor * peak, seconds, Manner(prefetch_every=2, deadline_s=DEADLINE_S)).calls()
    good = [call for call in calls if call.is_valid]
    refused = [call for call in calls if call.code == "RESOURCE_EXHAUSTED"]
    lasted_s = calls[-1].due_s - calls[0].due_s
    accepted = p99_ms(good)
    return {
        "overload": f"{factor:g}x",
        "offered_per_s": round(len(calls) / lasted_s),
        "goodput_of_peak": round(len(good) / lasted_s / peak, 3),
        "interactive_per_s": round(sum(not call.is_prefetch for call in good) / lasted_s),
        "prefetch_per_s": round(sum(call.is_prefetch for call in good) / lasted_s),
        "unloaded_p99_ms": round(calm["p99_ms"], 1),
        "accepted_p99_ms": accepted,
        "accepted_p99_of_unloaded": round(accepted / calm["p99_ms"], 2),
        "accepted_p99_without_client_ms": round(float(np.percentile([call.ms - call.lag_ms for call in good], 99)), 1),
        "interactive_p99_ms": p99_ms([call for call in good if not call.is_prefetch]),
        "prefetch_p99_ms": p99_ms([call for call in good if call.is_prefetch]),
        "refused_p99_ms": p99_ms(refused),
        "ranked": round(figures(good)["ranked"], 3),
        "late_handlers_refused": bench.refused("late"),
        "other_codes": sorted({call.code for call in calls} - {"OK", "RESOURCE_EXHAUSTED"}),
        "client_late_p99_ms": round(figures(calls)["late_p99_ms"], 1),
    }


def p99_ms(calls: Sequence[Call]) -> float:
    """Return the 99th percentile from due to answered; NaN of no calls."""
    return round(float(np.percentile([call.ms for call in calls], 99)), 1) if calls else float("nan")


class HealthWatch:
    """Asks for the health of `headrace.full` ten times a second.

    Args:
        address: of the server.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._down: list[tuple[float, float]] = []
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> list[tuple[float, float]]:
        """Return from when until when it was NOT_SERVING."""
        self._is_stopping.set()
        self._thread.join()
        return self._down

    def _watch(self) -> None:
        since_s = None
        with grpc.insecure_channel(self._address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while not self._is_stopping.wait(0.1):
                reply = stub.Check(health_pb2.HealthCheckRequest(service=FULL_QUALITY), timeout=5.0)
                now_s = time.monotonic()
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    if since_s is not None:
                        self._down.append((since_s, now_s))
                    since_s = None
                elif since_s is None:
                    since_s = now_s
        if since_s is not None:
            self._down.append((since_s, time.monotonic()))


@dataclasses.dataclass(frozen=True)
class Bench:
    """What runs, and how it is hurt."""

    server: str
    stack: LocalStack
    redis_proxy: ProxyProcess
    kafka_proxy: ProxyProcess
    status: Path

    def refused(self, reason: str) -> int:
        """Return how many requests the server refused for a reason, as its status file told last."""
        return int(json.loads(self.status.read_text())["refused_requests"][reason])

    def faults(self) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
        """Return name, fault and heal of each; first nothing, to compare."""
        yield "none", lambda: None, lambda: None
        for name, part, proxy in (("redis", "redis", self.redis_proxy), ("kafka", BROKER, self.kafka_proxy)):
            through = partial(proxy.order, "pass")
            yield f"{name}-slow", partial(proxy.order, f"slow {SLOW_S}"), through
            yield f"{name}-black-hole", partial(proxy.order, "hole"), through
            yield f"{name}-paused", partial(self._signal, part, SIGSTOP), partial(self._signal, part, SIGCONT)
            yield f"{name}-killed", partial(self._kill, part, proxy), partial(self._revive, part, proxy)

    def _signal(self, part: str, number: int) -> None:
        os.kill(self.stack.pid_of(part), number)

    def _kill(self, part: str, proxy: ProxyProcess) -> None:
        """Kill, and hold what its supervisor starts: a broker elsewhere would not start on the server's cores."""
        killed = self.stack.pid_of(part)
        os.kill(killed, SIGKILL)
        proxy.order("cut")
        while self._pid_of(part) in {None, killed}:
            time.sleep(0.01)
        self._signal(part, SIGSTOP)

    def _pid_of(self, part: str) -> int | None:
        """Return its process, None between two."""
        return next(
            (status.record.pid for status in self.stack.statuses if status.name == part and status.record), None
        )

    def _revive(self, part: str, proxy: ProxyProcess) -> None:
        """Let it start; the proxy passes what comes."""
        self._signal(part, SIGCONT)
        proxy.order("pass")


@contextmanager
def world(folder: Path, items: int) -> Iterator[Bench]:
    """Run Redis, Kafka, a proxy before each, and the server."""
    with ProxyProcess("127.0.0.1:1") as kafka_proxy, ProxyProcess("127.0.0.1:1") as redis_proxy:
        extra = broker_parts(kafka_proxy)
        with LocalStack(ROOT / "headrace.yaml", folder / "state", parts=("redis",), extra_parts=extra) as stack:
            endpoints = stack.start()
            redis_proxy.order(f"to {endpoints.redis}")
            seen = endpoints.model_copy(update={"redis": redis_proxy.address, "kafka": kafka_proxy.address})
            path = folder / "endpoints.json"
            path.write_text(seen.model_dump_json())
            command = [
                sys.executable,
                __file__,
                "--serve",
                str(path),
                "--redis",
                endpoints.redis,
                "--items",
                str(items),
            ]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
                try:
                    status = Path(endpoints.state) / "serving.json"
                    yield Bench(ready_address(process), stack, redis_proxy, kafka_proxy, status)
                finally:
                    process.terminate()


def broker_parts(proxy: ProxyProcess) -> list[Part]:
    """Return Kafka and its topics; Kafka tells its clients to come to its proxy."""
    known = {part.name: part for part in all_parts(StackConfig())}
    kafka = known["kafka"]

    def command(layout: StackLayout) -> Sequence[str]:
        arguments, address = kafka.command(layout), layout.address("kafka")
        proxy.order(f"to {address}")
        path, told = layout.state_dir / "kafka" / "server.properties", "advertised.listeners=PLAINTEXT://"
        path.write_text(path.read_text().replace(told + address, told + proxy.address))
        return arguments

    topics = dataclasses.replace(known["topics"], name="broker-topics", needs=(BROKER,))
    return [dataclasses.replace(kafka, name=BROKER, command=command), topics]


def ready_address(process: subprocess.Popen[str]) -> str:
    """Wait until the server says where it listens.

    Raises:
        RuntimeError: it ended before.
    """
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("READY "):
            return line.split()[1]
    raise RuntimeError("the server ended before it was ready; its reason stands above")


async def serve(endpoints: Endpoints, redis: str, num_items: int) -> None:
    """Run the real server over a filled store until ended; deadlines and all else are the shipped ones."""
    import torch

    from serving.config import ServingConfig
    from serving.connections import Connections
    from serving.server import Server
    from serving.server_settings import ServerSettings
    from tests.serving.serving_parts import APP

    torch.set_num_threads(1)
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # As in `headrace serve`: it logs every reconnect attempt.
    item_ids = tuple(f"item-{number:05d}" for number in range(num_items))
    fill_model_store(endpoints, item_ids)
    fill_users(endpoints.model_copy(update={"redis": redis}), item_ids)
    settings = ServerSettings(APP, ServingConfig(), endpoints, "127.0.0.1:0")
    server = Server(settings, Connections.of(settings))
    fill_items(server.items.table, item_ids)
    await server.start()
    print(f"READY {server.address}", flush=True)
    is_stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(SIGTERM, is_stopping.set)
    await is_stopping.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
