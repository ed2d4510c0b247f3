"""One seeded mix on the running stack: load, faults, heal, settle, judge."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
from kafka import KafkaConsumer, TopicPartition

from tests.faults.edged_stack import EdgedStack
from tests.faults.fault_injector import FaultInjector
from tests.faults.history import ends_of, read_history
from tests.faults.invariants import (
    Place,
    Verdict,
    check_acknowledged,
    check_answers,
    check_conserved,
    check_learnt,
    crc_of,
)
from tests.faults.schedule import Fault
from tests.oracle.checker import Oracle
from tests.oracle.oracle_stack import EVENTS, ITEMS, SAMPLES, SERVED, TopicLog, wait_settled
from tests.running_stack import wait_for
from tests.streams.topic_io import restarts as job_restarts
from trainer.batch_log import read_log

SETTLE_S = 600.0


@dataclass(frozen=True)
class Load:
    """What is sent and asked during a mix."""

    events: int = 20_000
    records_per_s: float = 300.0
    requests_per_s: float = 10.0


class MixRunner:
    """Runs mixes one after the other on one stack.

    Args:
        stack: with everything up.
        folder: for histories.
        load: of each mix.
        say: told of what happens.
    """

    def __init__(self, stack: EdgedStack, folder: Path, load: Load, say: Callable[[str], None]) -> None:
        self._stack, self._folder, self._load, self._say = stack, folder, load, say
        self._oracle = Oracle(stack.oracle)
        self._kafka = stack.local.endpoints.kafka
        self._logs = {topic: TopicLog(self._kafka, topic) for topic in (EVENTS, ITEMS, SERVED)}
        self._quarter: dict[str, dict[str, int]] = {}
        """What parts held when a quarter was sent."""
        self._crcs: dict[Place, int] = {}
        self._letters = 0

    def close(self) -> None:
        """Let go of all clients."""
        self._oracle.close()
        for log in self._logs.values():
            log.close()

    def run(self, seed: int, faults: tuple[Fault, ...], garbage: float = 0.01) -> Verdict:
        """Run one mix and return what is wrong with it. Without a fault nothing may be started again, no job either.

        Args:
            seed: of the stream.
            faults: the schedule.
            garbage: records that are no events, to one of all others.
        """
        started_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        run, before = f"{now_ms:x}", self._restarts(with_jobs=not faults)
        prefix = f"s{seed}.{run}."
        events, answers = self._folder / f"events-{seed}.jsonl", self._folder / f"answers-{seed}.jsonl"
        injector = FaultInjector(self._stack, faults, self._say)
        with self._requests(f"{prefix}u", answers):
            stream = ["--seed", str(seed), "--run", run, "--now-ms", str(now_ms), "--garbage", str(garbage)]
            self._send(stream, events, injector)
            injector.finish()
            sent_s = time.monotonic() - started_s
            self._say(f"  sent after {sent_s:.0f} s")
            settled_s = self._settle()
        verdict = Verdict(injector.failures)
        self._judge(prefix, ends_of(read_history(events)), verdict)
        verdict.add(check_answers(ends_of(read_history(answers)).values(), injector.server_down))
        verdict.figures |= {"sent_s": round(sent_s), "settled_s": round(settled_s)}
        verdict.figures |= {"seconds": round(time.monotonic() - started_s)}
        verdict.figures |= self._held() | {f"{name}_quarter": figure for name, figure in self._quarter.items()}
        after = self._restarts(with_jobs=not faults)
        verdict.figures["restarts"] = sum(after.values())
        if not faults and after != before:
            verdict.problems.append(f"I12: started again without a fault: {before} before, {after} after")
        return verdict

    def _restarts(self, with_jobs: bool) -> dict[str, int]:
        """Return how often each part was started again, and the jobs together where they are asked for."""
        parts = {status.name: status.restarts for status in self._stack.local.statuses}
        return parts | (wait_for(self._job_restarts, "the jobs' restarts") if with_jobs else {})

    def _job_restarts(self) -> dict[str, int] | None:
        try:
            return {"jobs": job_restarts(self._stack.local.endpoints)}
        except IndexError:  # The JobManager collects metrics when it is first asked for them.
            return None

    def _send(self, stream: list[str], history: Path, injector: FaultInjector) -> None:
        command = [sys.executable, "-m", "tests.faults.event_load", "--kafka", self._stack.app_kafka, *stream]
        command += ["--events", str(self._load.events), "--rate", str(self._load.records_per_s)]
        command += ["--history", str(history)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("AT "):
                    injector.advance(at := float(line.split()[1]))
                    if at < 0.25 or not self._quarter:
                        self._quarter = self._held()
        if process.returncode:
            raise RuntimeError(f"the event load ended with {process.returncode}; its reason stands above")

    @contextlib.contextmanager
    def _requests(self, users: str, history: Path) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.faults.request_load", "--serving", self._stack.local.endpoints.serving]
        command += ["--rate", str(self._load.requests_per_s), "--users", users, "--history", str(history)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()  # It is ready.
            yield
            process.communicate("")

    def _settle(self) -> float:
        """Wait until everything is up and has gone through jobs, ingester and trainer; return the seconds it took."""
        started_s, local = time.monotonic(), self._stack.local
        wait_for(lambda: all(status.is_up for status in local.statuses), "every part being up", SETTLE_S, 0.5)
        wait_settled(self._stack.oracle, timeout_s=SETTLE_S)
        wait_for(lambda: self._sample_ends() == self._learnt_offsets(), "a trainer that learnt it all", SETTLE_S, 0.5)
        return time.monotonic() - started_s

    def _judge(self, prefix: str, ends: Mapping[str, Mapping[str, Any]], verdict: Verdict) -> None:
        for topic, log in self._logs.items():
            self._crcs |= {(topic, r.partition, r.offset): crc_of(r.value) for r in log.read_new()}
        verdict.add(check_acknowledged(ends.values(), self._crcs))
        findings = self._oracle.judge(prefix)
        verdict.problems += [f"I1, I2, I12: {difference:.300}" for difference in findings.differences]
        verdict.figures |= {"events": findings.events, "values": findings.values, "samples": findings.samples}
        self._judge_conserved(verdict)
        self._judge_learnt(verdict)

    def _judge_conserved(self, verdict: Verdict) -> None:
        """Over the whole log: not every broken record says whose it is."""
        memory = self._oracle.log
        records = sum(place[0] == EVENTS for place in self._crcs)
        rejected = {place for place, letter in memory.letters.items() if place[0] == EVENTS}
        broken = rejected & memory.expected_letters.keys()
        verdict.figures["garbage"] = len(memory.expected_letters) - self._letters
        self._letters = len(memory.expected_letters)
        verdict.add(check_conserved(records, len(memory.events), memory.num_copies, len(broken)))

    def _judge_learnt(self, verdict: Verdict) -> None:
        samples = self._oracle.log.samples
        num_events = len({sample_id for kind, sample_id in samples if kind != "impression"})
        content = read_log(Path(self._stack.local.endpoints.state) / "trainer" / "batch_log", 0)
        status = self._trainer_status()
        verdict.add(check_learnt(content.entries, status["progress"]["events"], self._sample_ends(), num_events))
        gaps = status["gaps"]["recent"] if status.get("gaps") else []
        verdict.problems += [f"I1: the trainer met a gap: {gap}" for gap in gaps]

    def _trainer_status(self) -> dict[str, Any]:
        status: dict[str, Any] = msgspec.json.decode(
            (Path(self._stack.local.endpoints.state) / "trainer.json").read_bytes()
        )
        return status

    def _learnt_offsets(self) -> dict[str, int]:
        offsets: dict[str, int] = self._trainer_status()["offsets"]
        return {name: offset for name, offset in offsets.items() if name.startswith(SAMPLES)}

    def _sample_ends(self) -> dict[str, int]:
        consumer: Any = KafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        try:
            parts = [TopicPartition(SAMPLES, number) for number in consumer.partitions_for_topic(SAMPLES)]
            return {f"{SAMPLES}:{part.partition}": end for part, end in consumer.end_offsets(parts).items()}
        finally:
            consumer.close()

    def _held(self) -> dict[str, dict[str, int]]:
        """Return memory and descriptors of each part, for the slope over one mix and over many."""
        held: dict[str, dict[str, int]] = {"rss_mb": {}, "descriptors": {}}
        for status in self._stack.local.statuses:
            with contextlib.suppress(psutil.Error):  # Killed at this moment.
                if status.record:
                    process = psutil.Process(status.record.pid)
                    held["rss_mb"][status.name] = process.memory_info().rss >> 20
                    held["descriptors"][status.name] = process.num_fds()
        return held
