"""How long until it flows again behind kill -9, and how fresh it is meanwhile: `python tests/bench/bench_recovery.py`.

The whole local stack under a steady load of events and of requests. Part after part is killed, and the next one only
when all flows again. Flowing is, from the kill on: for Flink, Kafka and the ingester the longest that an event
sent behind the kill took to its feature row in Redis (without a JobManager rows flow for a moment, then stop); for the
trainer the first answer by a version of its next epoch; for the server the first answer; for Redis the first answer
that is not degraded, from the moment at which Redis answers again. A line a part, then the freshness over everything,
faults included: event to feature in Redis by a probe, and the age of the version that answers; and how many seconds of
samples the trainer learnt again from its log.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from redis import Redis, RedisError

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.local_stack import LocalStack  # noqa: E402
from features.config import Endpoints  # noqa: E402
from headrace_client import Event, EventProducer, Recommender  # noqa: E402
from headrace_client.errors import HeadraceClientError  # noqa: E402
from tests.faults.invariants import version_of  # noqa: E402
from tests.oracle.online_reader import OnlineReader  # noqa: E402
from tests.oracle.oracle_stack import busy_taskmanager  # noqa: E402

PARTS = ("taskmanager", "jobmanager", "ingester", "trainer", "server", "redis", "kafka")
PROMISED_S = {"taskmanager": 30.0, "jobmanager": 60.0, "trainer": 15.0, "server": 5.0, "redis": 2.0}
USERS, ITEMS = 50, 200
_PROBE = "probe-user"
_PAUSE_S, _DEADLINE_S = 0.02, 0.2
_LONGEST_S, _SETTLES_S = 180.0, 25.0


class Answer(NamedTuple):
    """One reply, or none."""

    at_s: float
    version: str
    is_full: bool
    age_s: float


@dataclass
class Watch:
    """What is seen from outside while parts are killed; times of `time.time()`."""

    answers: list[Answer] = field(default_factory=list)
    features: list[tuple[float, float]] = field(default_factory=list)
    """When a probe's event was seen in Redis, and how long after it was sent."""
    stop: threading.Event = field(default_factory=threading.Event)

    def first(self, wanted: Callable[[Answer], Any], since_s: float) -> float | None:
        """Return when the first such answer came."""
        return next((a.at_s for a in list(self.answers) if a.at_s > since_s and wanted(a)), None)

    def first_feature(self, since_s: float) -> float | None:
        """Return when the first event sent after a moment was seen."""
        return next((seen for seen, took in list(self.features) if seen - took > since_s), None)


def send(endpoints: Endpoints, rate: float, watch: Watch) -> None:
    """Send events of many users at a rate."""
    number, started_s = 0, time.monotonic()
    with EventProducer(endpoints.kafka, linger_ms=5) as producer:
        while not watch.stop.wait(max(0.0, started_s + number / rate - time.monotonic())):
            number += 1
            action = "like" if number % 3 else "view"
            try:
                producer.send(Event(user_id=f"u{number % USERS}", item_id=f"i{number * 7 % ITEMS}", action=action))
            except HeadraceClientError:  # No place left while Kafka is away: this one is not sent.
                continue


def ask(endpoints: Endpoints, rate: float, watch: Watch) -> None:
    """Ask for lists at a rate; what failed is no answer."""
    number, started_s = 0, time.monotonic()
    with Recommender(endpoints.serving, deadline_s=_DEADLINE_S) as recommender:
        while not watch.stop.wait(max(0.0, started_s + number / rate - time.monotonic())):
            number += 1
            try:
                reply = recommender.recommend(f"u{number % USERS}", 10, "probe")
            except HeadraceClientError:
                continue
            is_full = not reply.degraded_reasons
            watch.answers.append(Answer(time.time(), reply.model_version, is_full, reply.model_age_s))


def probe(endpoints: Endpoints, name: str, watch: Watch) -> None:
    """Send an event, look for it in Redis until it is there, and so on."""
    reader, number = OnlineReader(endpoints.redis, name), 0
    with EventProducer(endpoints.kafka) as producer:
        while not watch.stop.is_set():
            number += 1
            item_id, sent_s = f"probe-{number}", time.time()
            try:
                producer.send(Event(user_id=_PROBE, item_id=item_id, action="view"))
            except HeadraceClientError:
                continue
            while not watch.stop.wait(_PAUSE_S):
                try:
                    row = reader.row("user_activity", _PROBE, ["user_history_item_ids"])
                except RedisError:
                    continue
                if item_id in (row["user_history_item_ids"] or []):
                    watch.features.append((time.time(), time.time() - sent_s))
                    break


def kill(stack: LocalStack, part: str) -> float:
    """Kill a part; return when."""
    name = busy_taskmanager(stack.endpoints) if part == "taskmanager" else part
    os.kill(stack.pid_of(name), signal.SIGKILL)
    return time.time()


def flowing(stack: LocalStack, watch: Watch, part: str, killed_s: float, epoch: int) -> Callable[[], float | None]:
    """Return what says how many seconds it took, None as long as it lasts."""
    match part:
        case "trainer":
            found: Callable[[], float | None] = lambda: watch.first(  # noqa: E731
                lambda a: a.version and version_of(a.version)[0] > epoch, killed_s
            )
        case "server":
            found = lambda: watch.first(lambda a: True, killed_s + 2 * _DEADLINE_S)  # noqa: E731
        case "redis":
            back_s = _back_again(stack)
            return lambda: None if (at := watch.first(lambda a: a.is_full, back_s)) is None else max(0.0, at - back_s)
        case _:
            return lambda: _longest(watch, killed_s)
    return lambda: None if (at := found()) is None else at - killed_s


def _longest(watch: Watch, killed_s: float) -> float | None:
    """Return the longest wait behind a kill, once it is long enough ago and features flow again."""
    if time.time() - killed_s < _SETTLES_S:
        return None
    waits = [took for seen, took in list(watch.features) if seen > killed_s]
    is_flowing = watch.first_feature(time.time() - 6.0) is not None
    return max(waits) if waits and is_flowing else None


def _back_again(stack: LocalStack) -> float:
    host, _, port = stack.endpoints.redis.partition(":")
    with Redis(host, int(port), socket_timeout=0.2, socket_connect_timeout=0.2) as client:
        while True:
            try:
                client.ping()
                return time.time()
            except RedisError:
                time.sleep(_PAUSE_S)


def wait_steady(watch: Watch) -> None:
    """Wait until features and full answers came steadily for a while."""
    deadline_s = time.time() + _LONGEST_S
    while time.time() < deadline_s:
        now_s = time.time()
        recent = [took for seen, took in watch.features if seen > now_s - 6.0]
        answers = [answer.is_full for answer in watch.answers if answer.at_s > now_s - 3.0]
        if len(recent) > 3 and max(recent) < 2.0 and answers and all(answers):
            return
        time.sleep(0.5)


def measure(stack: LocalStack, watch: Watch, parts: Sequence[str]) -> dict[str, float | None]:
    """Kill part after part; return the seconds each took."""
    found: dict[str, float | None] = {}
    for part in parts:
        wait_steady(watch)
        epoch = version_of(watch.answers[-1].version)[0]
        killed_s = kill(stack, part)
        took = flowing(stack, watch, part, killed_s, epoch)
        while (seconds := took()) is None and time.time() - killed_s < _LONGEST_S:
            time.sleep(0.05)
        found[part] = None if seconds is None else round(seconds, 2)
        print(
            f"{part}: {found[part]} s (promised {PROMISED_S.get(part, '-')}), load {os.getloadavg()[0]:.0f}", flush=True
        )
    wait_steady(watch)
    return found


def learnt_again_s(stack: LocalStack, rate: float) -> float:
    """Return for how many seconds of events the newest start of the trainer read samples a second time."""
    status = json.loads((Path(stack.endpoints.state) / "trainer.json").read_text(encoding="utf-8"))
    return round(float(status["replay"]["samples"]) / rate, 1)


def summary(watch: Watch) -> dict[str, Any]:
    """Return the freshness over everything."""
    took = np.array([seconds for _, seconds in watch.features])
    # A probe that waits ten seconds stands for all that were sent meanwhile.
    waits = np.concatenate([np.arange(seconds, 0.0, -0.2) for seconds in took if seconds > 0.0])
    ages = np.array([answer.age_s for answer in watch.answers if answer.version])
    return {
        "event_to_feature_p50_s": round(float(np.percentile(waits, 50)), 3),
        "event_to_feature_p99_s": round(float(np.percentile(waits, 99)), 3),
        "served_version_age_p50_s": round(float(np.percentile(ages, 50)), 2),
        "served_version_age_p99_s": round(float(np.percentile(ages, 99)), 2),
        "answers": len(watch.answers),
        "probes": len(took),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50.0, help="events a second (50)")
    parser.add_argument("--requests", type=float, default=20.0, help="requests a second (20)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="killed one after the other")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="headrace-recovery-") as folder:
        config: Any = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        config["stack"] = (config.get("stack") or {}) | {"start_timeout_s": 900}
        path = Path(folder) / "headrace.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        with LocalStack(path, Path(folder) / "state") as stack:
            endpoints, watch = stack.start(), Watch()
            threads = [
                threading.Thread(target=send, args=(endpoints, options.rate, watch)),
                threading.Thread(target=ask, args=(endpoints, options.requests, watch)),
                threading.Thread(target=probe, args=(endpoints, config["name"], watch)),
            ]
            for thread in threads:
                thread.start()
            try:
                found = measure(stack, watch, options.parts)
                again_s = learnt_again_s(stack, options.rate)
            finally:
                watch.stop.set()
                for thread in threads:
                    thread.join()
    print(json.dumps({"recovery_s": found, "learnt_again_s": again_s, **summary(watch)}, indent=2))
    taken = {part: _LONGEST_S if seconds is None else seconds for part, seconds in found.items()}
    return int(any(seconds > PROMISED_S.get(part, _LONGEST_S) for part, seconds in taken.items()))


if __name__ == "__main__":
    sys.exit(main())
