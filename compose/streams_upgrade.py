"""`headrace streams upgrade`: build each changed job beside the running one, and let it take its place when right.

    1. refuse what cannot end well: no running job, a changed meaning, history that retention has taken
    then job by job, those whose running plan is another than the configuration's:
    2. submit the changed job from the first record, onto `.next` topics
    3. wait until it stands where its inputs ended
    4. the feature job: compare; what both jobs compute must be equal, row by row, while events go on
    5. stop the running job with a savepoint, then the next one; carry over what stands on `.next` topics only
    6. go on from the next one's savepoint, now onto the topics of the contract; remove `.next`
    7. register the features, restart what reads the configuration and wait until it is back; where the jobs differ by
       what they leave out alone (a purge, a forgotten user), nothing that reads the configuration is touched

Until step 5 nothing that serves has noticed anything, and Ctrl-C leaves everything as it was. Whatever fails in 5 and
6, the job of before goes on from its savepoint. Features or samples stand still for the seconds of a restore; events
wait in Kafka and none is counted twice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compose.changed_jobs import ConfiguredJobs
from compose.config import load_headrace_config
from compose.errors import StackError, StackNotRunningError
from compose.feature_parity import Parity, compare_rows
from compose.job_control import KINDS, JobControl, JobKind, submitter
from compose.next_topics import NextTopics, num_records
from compose.restarted_parts import EndedParts, end_parts, wait_until_back
from compose.upgrade_copies import copy_missing_letters, copy_missing_samples, copy_newest_rows
from features.config import Endpoints, load_app_config
from features.feature_topics import FEATURE_TOPICS
from features.label_config import load_labels
from streams.errors import ClusterError
from streams.exclusions import Exclusions
from streams.flink_rest import FlinkRest
from streams.input_history import InputHistory, read_history
from streams.job_files import JobFiles
from streams.kafka_tables import dead_letters_topic, feature_topic, samples_topic

NEXT = ".next"
READERS = ("ingester", "quality", "trainer", "server")
"""Parts that read actions, labels or features from the configuration when they start."""
_POLL_S = 0.5
_OVERLAP_MS = 60_000
"""The next job may be ahead of the running one when that stops: what is carried over begins so much before."""

Say = Callable[[str], None]
ShowProgress = Callable[[int, int], None]
"""Told records read and records there are."""


class UpgradeRefusedError(StackError):
    """Expected: the upgrade would lose history or change what must stay equal; the running jobs were not changed."""


@dataclass(frozen=True)
class UpgradeSummary:
    """What an upgrade did."""

    jobs: tuple[str, ...] = ()
    """Jobs that were changed."""
    records: int = 0
    rows_equal: int = 0
    rows_moving: int = 0
    rows_different: int = 0
    rows_cut: int = 0
    copied: int = 0
    build_s: float = 0.0
    pauses_s: Mapping[str, float] = field(default_factory=dict)
    """How long each job stood still."""

    def to_json(self) -> dict[str, object]:
        """Return the summary as a JSON object."""
        return {"was_needed": bool(self.jobs), **asdict(self)}

    def sentence(self) -> str:
        """Return the summary for a person."""
        if not self.jobs:
            return "nothing to upgrade: the running jobs were made from this configuration"
        stood_still = ", ".join(f"the {kind} job {pause_s:.1f} s" for kind, pause_s in self.pauses_s.items())
        compared = f", {self.rows_equal} rows equal" if "feature" in self.jobs else ""
        moving = f", {self.rows_moving} never at rest" if self.rows_moving else ""
        different = f", {self.rows_different} different" if self.rows_different else ""
        cut = f", {self.rows_cut} not compared as their events are gone" if self.rows_cut else ""
        return (
            f"upgraded: {self.records} records in {self.build_s:.1f} s{compared}{different}{moving}{cut}, "
            f"{self.copied} rows, samples and letters carried over; {stood_still} stood still"
        )


class StreamsUpgrade:
    """One upgrade of the jobs.

    Args:
        config_path: `headrace.yaml` as it shall be.
        endpoints_path: the running stack.
        endpoints: its addresses.
        say: told each step.
        excluded_before: what the running jobs leave out, where somebody has just added to it.
    """

    def __init__(
        self,
        config_path: Path,
        endpoints_path: Path,
        endpoints: Endpoints,
        say: Say,
        excluded_before: Exclusions | None = None,
    ) -> None:
        self._paths = (config_path, endpoints_path)
        self._endpoints = endpoints
        self._say = say
        self._app = load_app_config(config_path)
        self._labels = load_labels(config_path, self._app)
        self._start_timeout_s = load_headrace_config(config_path).stack.start_timeout_s
        self._job = ConfiguredJobs(config_path, endpoints).job
        self._job_before = ConfiguredJobs(config_path, endpoints, excluded_before).job
        self._rest = FlinkRest(endpoints.flink)
        self.switched_ms = 0
        """When the feature job was switched: from then on its rows are those of the new one; 0 before."""

    def check(self, accept_missing_history: bool = False) -> list[JobKind]:
        """Return the jobs that an upgrade would change, before anything is done.

        Raises:
            StackError: it would be refused, or a job does not run.
        """
        changed = self._changed()
        for kind in changed:
            self._check_history(kind, accept_missing_history)
        return changed

    def is_configured_anew(self) -> bool:
        """Say whether a job was made from another configuration, and not only without what is left out since.

        Raises:
            StackNotRunningError: a job does not run.
        """
        return any(self._control(kind).running_plan() != self._job_before(kind).plan_name for kind in KINDS)

    def run(
        self,
        show_progress: ShowProgress,
        timeout_s: float,
        accept_missing_history: bool = False,
        accept_differences: bool = False,
    ) -> UpgradeSummary:
        """Upgrade.

        Args:
            show_progress: told how far the next job has read.
            timeout_s: to catch up, and to compare.
            accept_missing_history: build from what Kafka has.
            accept_differences: switch even though rows differ.

        Raises:
            StackError: it is refused, or a step failed; the message says what stands.
            StreamsError: Flink refuses.
        """
        changed = self._changed()
        is_configured_anew = self.is_configured_anew()
        self._features("--check")
        histories = {kind: self._check_history(kind, accept_missing_history) for kind in changed}
        done: list[UpgradeSummary] = []
        ended: EndedParts = {}
        try:
            for kind, history in histories.items():
                done.append(self._upgrade(kind, history, accept_differences, show_progress, timeout_s))
        finally:
            # Also where only one of two jobs could be changed, and where an earlier upgrade ended before this.
            if (done or not changed) and (self._features() or (done and is_configured_anew)):
                self._say("restarting what reads the configuration")
                ended = end_parts(Path(self._endpoints.state), READERS)
        wait_until_back(Path(self._endpoints.state), ended, self._start_timeout_s)
        return UpgradeSummary(
            tuple(changed),
            sum(one.records for one in done),
            sum(one.rows_equal for one in done),
            sum(one.rows_moving for one in done),
            sum(one.rows_different for one in done),
            sum(one.rows_cut for one in done),
            sum(one.copied for one in done),
            sum(one.build_s for one in done),
            {kind: pause_s for one in done for kind, pause_s in one.pauses_s.items()},
        )

    def _changed(self) -> list[JobKind]:
        return [kind for kind in KINDS if self._control(kind).running_plan() != self._job(kind).plan_name]

    def _upgrade(
        self,
        kind: JobKind,
        history: InputHistory,
        accept_differences: bool,
        show_progress: ShowProgress,
        timeout_s: float,
    ) -> UpgradeSummary:
        topics = self._topics(kind)
        started_s = time.monotonic()
        try:
            records = self._build(kind, topics, show_progress, timeout_s)
            parity = self._compare(history, accept_differences, timeout_s) if kind == "feature" else Parity(0, 0)
            build_s, paused_s = time.monotonic() - started_s, time.monotonic()
            copied = self._switch(kind)
        except BaseException:
            self._abandon(kind, topics)
            raise
        pauses_s: dict[str, float] = {kind: time.monotonic() - paused_s}
        self._abandon(kind, topics)
        return UpgradeSummary(
            (kind,), records, parity.equal, parity.moving, parity.different, parity.cut, copied, build_s, pauses_s
        )

    def _control(self, kind: JobKind, suffix: str = "") -> JobControl:
        files = JobFiles(Path(self._endpoints.state) / "flink", f"{kind}_job{suffix}")
        return JobControl(self._job(kind, suffix).name, files, self._rest, submitter(*self._paths, kind))

    def _topics(self, kind: JobKind) -> NextTopics:
        rows = [feature_topic(topic.view, NEXT) for topic in FEATURE_TOPICS]
        written = rows if kind == "feature" else [samples_topic(NEXT)]
        return NextTopics(self._endpoints.kafka_servers, [dead_letters_topic(NEXT), *written])

    def _check_history(self, kind: JobKind, accept_missing: bool) -> InputHistory:
        history = read_history(self._job(kind), self._endpoints.kafka_servers)
        if not (history.is_complete or accept_missing):
            raise UpgradeRefusedError(
                f"the {kind} job would be built without what it was built from: {history.sentence()}. No backfill "
                "brings that back: what the running job has counted once would count twice. --accept-missing-history "
                "builds from what is left; counters, histories and features over all time then lack the rest for good"
            )
        return history

    def _features(self, *options: str) -> bool:
        """Register the features, or only check them; say whether anything changed."""
        config, endpoints = (str(path) for path in self._paths)
        command = [sys.executable, "-m", "features.apply", "--config", config, "--endpoints", endpoints, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise UpgradeRefusedError(lines[-1].removeprefix("headrace: "))
        return done.stdout.strip() != "nothing changed"

    def _build(self, kind: JobKind, topics: NextTopics, show_progress: ShowProgress, timeout_s: float) -> int:
        self._abandon(kind, topics)
        topics.create()
        job = self._job(kind, NEXT)
        beginnings, ends = topics.bounds(job.inputs)
        self._say(f"submitting the changed {kind} job onto .next topics")
        self._control(kind).submit("--suffix", NEXT)
        deadline_s = time.monotonic() + timeout_s
        total = num_records(beginnings, ends)
        while (read := topics.committed(job.name, beginnings, ends)) < total:
            if job.name not in self._rest.live_jobs():
                raise StackError(f"the new {kind} job ended while it caught up; logs/jobmanager.log says why")
            if time.monotonic() > deadline_s:
                raise StackError(f"the new job read {read} of {total} records in {timeout_s:g} s; allow more --timeout")
            show_progress(read, total)
            time.sleep(_POLL_S)
        show_progress(total, total)
        return total

    def _compare(self, history: InputHistory, accept_differences: bool, timeout_s: float) -> Parity:
        self._say("comparing what both jobs compute")
        since_ms = 0 if history.is_complete else history.kept_from_ms or time.time_ns() // 1_000_000
        parity = compare_rows(self._endpoints.kafka_servers, self._app.features, NEXT, timeout_s, since_ms)
        if parity.different and not accept_differences:
            raise UpgradeRefusedError(
                f"{parity.different} rows differ between the running and the new job ({parity.equal} are equal), first "
                f"{parity.example}. A feature that means something else needs a new name; where another result is "
                "meant, as of a declared or changed action, --accept-differences. Nothing was changed"
            )
        return parity

    def _switch(self, kind: JobKind) -> int:
        self._say(f"switching the {kind} job: stopping both, carrying over, going on from the savepoint")
        plan, files = self._job(kind).plan_name, self._control(kind).files
        since_ms = time.time_ns() // 1_000_000 - _OVERLAP_MS - round(self._labels.window_s * 1000)
        with self._control(kind).stopped():
            point = self._control(kind, NEXT).savepoint(stop=True)
            if kind == "feature":
                self.switched_ms = time.time_ns() // 1_000_000
            copied = self._carry_over(kind, since_ms)
            # From here on a restart of the stack goes on as the new job.
            shutil.copyfile(self._control(kind, NEXT).files.plan(plan), files.plan(plan))
            try:
                moved = files.savepoints(plan) / point.name
                moved.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(point, moved)
                self._control(kind).submit("--restore-from", str(moved))
            except BaseException:
                files.plan(plan).unlink(missing_ok=True)
                raise
        files.forget_other_plans(plan)
        return copied

    def _carry_over(self, kind: JobKind, since_ms: int) -> int:
        kafka = self._endpoints.kafka_servers
        first = copy_newest_rows(kafka, NEXT) if kind == "feature" else copy_missing_samples(kafka, NEXT, since_ms)
        return first + copy_missing_letters(kafka, NEXT, since_ms)

    def _abandon(self, kind: JobKind, topics: NextTopics) -> None:
        """Take away what stands beside the running job, be it of an upgrade that did not end."""
        job = self._job(kind, NEXT)
        try:
            left = self._rest.live_jobs().get(job.name)
            if left:
                self._rest.cancel(left)
        except ClusterError as error:
            raise StackNotRunningError(f"{error}; is the stack up?") from error
        topics.delete()
        topics.forget(job.name)
        shutil.rmtree(self._control(kind, NEXT).files.all_checkpoints, ignore_errors=True)
