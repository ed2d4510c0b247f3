"""`headrace streams upgrade`: build a changed feature set beside the running one, and let it take its place when right.

    1. refuse what cannot end well: nothing to do, no running job, history that retention has taken
    2. submit the changed feature job from the first record, onto `.next` topics
    3. wait until it stands where the events end
    4. compare: what both jobs compute must be equal for every row that rests
    5. stop it with a savepoint, cancel the old one, copy the new rows into the topics of the contract
    6. go on from the savepoint, now onto those topics; restart what reads the configuration; remove `.next`

Until step 5 nothing that serves has noticed anything, and Ctrl-C leaves everything as it was. From step 5 on features
stand still for the seconds of a restore; events wait in Kafka and none is counted twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kafka import TopicPartition

from compose.errors import StackError, StackNotRunningError
from compose.feature_parity import Parity, compare_rows, copy_newest_rows
from compose.local_stack import read_status
from compose.next_topics import NextTopics
from compose.processes import ProcessRecord, is_alive
from features.config import AppConfig, Endpoints, load_app_config, load_section
from features.feature_topics import FEATURE_TOPICS
from streams.config import StreamsConfig
from streams.errors import ClusterError
from streams.flink_rest import FlinkRest
from streams.job import SqlJob
from streams.job_files import JobFiles
from streams.jobs.feature_job import feature_job
from streams.kafka_tables import BACKFILL_TOPIC, EVENTS_TOPIC, dead_letters_topic, feature_topic
from streams.token_check import load_token_check

NEXT = ".next"
READERS = ("ingester", "trainer", "server")
"""Parts that read the feature set from the configuration when they start."""
_POLL_S = 0.5
_SAVEPOINT_S = 120.0

Say = Callable[[str], None]
ShowProgress = Callable[[int, int], None]
"""Told events read and events there are."""


class UpgradeRefusedError(StackError):
    """Expected: the upgrade would lose history or change what must stay equal; nothing was touched."""


@dataclass(frozen=True)
class UpgradeSummary:
    """What an upgrade did."""

    was_needed: bool
    events: int = 0
    rows_compared: int = 0
    rows_copied: int = 0
    build_s: float = 0.0
    pause_s: float = 0.0
    """How long features stood still."""

    def to_json(self) -> dict[str, float | bool]:
        """Return the summary as a JSON object."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the summary for a person."""
        if not self.was_needed:
            return "nothing to upgrade: the running feature job was made from this configuration"
        return (
            f"upgraded: {self.events} events in {self.build_s:.1f} s, {self.rows_compared} rows equal, "
            f"{self.rows_copied} rows copied; features stood still for {self.pause_s:.1f} s"
        )


class StreamsUpgrade:
    """One upgrade of the feature job.

    Args:
        config_path: `headrace.yaml` with the changed feature set.
        endpoints_path: the running stack.
        endpoints: its addresses.
        say: told each step.
    """

    def __init__(self, config_path: Path, endpoints_path: Path, endpoints: Endpoints, say: Say) -> None:
        self._paths = (config_path, endpoints_path)
        self._endpoints = endpoints
        self._say = say
        self._app: AppConfig = load_app_config(config_path)
        self._streams = load_section(config_path, "streams", StreamsConfig)
        self._tokens = load_token_check(config_path, Path(endpoints.state))
        self._rest = FlinkRest(endpoints.flink)
        self._flink_dir = Path(endpoints.state) / "flink"
        self._files, self._next_files = (JobFiles(self._flink_dir, f"feature_job{suffix}") for suffix in ("", NEXT))
        self._topics = NextTopics(
            endpoints.kafka, [dead_letters_topic(NEXT), *(feature_topic(t.view, NEXT) for t in FEATURE_TOPICS)]
        )

    def run(self, show_progress: ShowProgress, accept_missing_history: bool, timeout_s: float) -> UpgradeSummary:
        """Upgrade.

        Raises:
            StackError: it is refused, or a step failed; the message says what stands.
            StreamsError: Flink refuses.
        """
        job = self._job("")
        running = self._rest.live_jobs()
        if job.name not in running:
            raise StackNotRunningError(f"no {job.name} runs; `headrace up` starts the jobs")
        if self._files.plan_of(running[job.name]) == job.plan_name:
            return UpgradeSummary(was_needed=False)
        ends = self._check_history(accept_missing_history)
        self._apply_features()
        started_s = time.monotonic()
        try:
            self._build(ends, show_progress, timeout_s)
            parity = self._compare(timeout_s)
        except BaseException:
            self._abandon()
            raise
        build_s = time.monotonic() - started_s
        paused_s = time.monotonic()
        copied = self._switch(running[job.name])
        return UpgradeSummary(
            True, sum(ends.values()), parity.rows, copied, build_s, pause_s=time.monotonic() - paused_s
        )

    def _job(self, suffix: str) -> SqlJob:
        return feature_job(self._app, self._streams, self._endpoints.kafka, suffix, self._tokens)

    def _check_history(self, accept_missing: bool) -> Mapping[TopicPartition, int]:
        """Return where the events end; refuse where their beginning is gone."""
        beginnings, ends = self._topics.bounds((EVENTS_TOPIC, BACKFILL_TOPIC))
        gone = sum(beginnings.values())
        if gone and not accept_missing:
            raise UpgradeRefusedError(
                f"{gone} events are no longer in Kafka (retention), so rows built from it would lack them; bring them "
                "back with `headrace backfill`, or accept that with --accept-missing-history"
            )
        return ends

    def _apply_features(self) -> None:
        """Register the new features; refuses a changed meaning or a removal before anything is built."""
        config, endpoints = (str(path) for path in self._paths)
        command = [sys.executable, "-m", "features.apply", "--config", config, "--endpoints", endpoints]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise UpgradeRefusedError(lines[-1].removeprefix("headrace: "))

    def _build(self, ends: Mapping[TopicPartition, int], show_progress: ShowProgress, timeout_s: float) -> None:
        self._abandon()
        self._topics.create()
        self._say("submitting the changed feature job onto .next topics")
        self._submit("--suffix", NEXT)
        deadline = time.monotonic() + timeout_s
        group, total = self._job(NEXT).name, sum(ends.values())
        while (read := self._topics.committed(group, ends)) < total:
            self._raise_if_gone()
            if time.monotonic() > deadline:
                raise StackError(f"the new job read {read} of {total} events in {timeout_s:g} s; allow more --timeout")
            show_progress(read, total)
            time.sleep(_POLL_S)
        show_progress(total, total)

    def _raise_if_gone(self) -> None:
        if self._job(NEXT).name not in self._rest.live_jobs():
            raise StackError("the new feature job ended while it caught up; logs/jobmanager.log says why")

    def _compare(self, timeout_s: float) -> Parity:
        self._say("comparing what both jobs compute")
        parity = compare_rows(self._endpoints.kafka, self._app.features, NEXT, timeout_s)
        if parity.different:
            raise UpgradeRefusedError(
                f"{parity.different} of {parity.rows} rows differ between the running and the new job, first "
                f"{parity.example}; a changed meaning needs a new name. Nothing was changed"
            )
        return parity

    def _switch(self, old_id: str) -> int:
        new = self._job(NEXT)
        self._say("switching: stopping both jobs, copying rows, going on from the savepoint")
        folder = self._files.savepoints(new.plan_name).resolve().as_uri()
        savepoint = self._rest.savepoint(self._rest.live_jobs()[new.name], folder, stop=True, timeout_s=_SAVEPOINT_S)
        self._rest.cancel(old_id)
        copied = copy_newest_rows(self._endpoints.kafka, NEXT)
        shutil.copyfile(self._next_files.plan(new.plan_name), self._files.plan(new.plan_name))
        # What the old plan left would be taken for this job's newest checkpoint.
        shutil.rmtree(self._files.all_checkpoints, ignore_errors=True)
        self._submit("--restore-from", savepoint.removeprefix("file:"))
        self._restart_readers()
        self._topics.delete()
        return copied

    def _submit(self, *options: str) -> None:
        config, endpoints = (str(path) for path in self._paths)
        command = [sys.executable, "-m", "streams", "--config", config, "--endpoints", endpoints, "--job", "feature"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise StackError(f"the feature job was not accepted: {lines[-1].removeprefix('streams: ')}")

    def _restart_readers(self) -> None:
        """End the parts that read the configuration at their start; their supervisor starts them again."""
        for part in read_status(Path(self._endpoints.state)).get("parts", []):
            if part["name"] in READERS and part["process"]:
                record = ProcessRecord.from_json(part["process"])
                if is_alive(record):
                    os.kill(record.pid, signal.SIGTERM)

    def _abandon(self) -> None:
        """Take away what an upgrade that did not end left behind."""
        try:
            left = self._rest.live_jobs().get(self._job(NEXT).name)
            if left:
                self._rest.cancel(left)
        except ClusterError as error:
            raise StackNotRunningError(f"{error}; is the stack up?") from error
        self._topics.delete()
        self._topics.forget(self._job(NEXT).name)
        shutil.rmtree(self._next_files.all_checkpoints, ignore_errors=True)
