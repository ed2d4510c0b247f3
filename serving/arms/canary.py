"""A version that serves a share of the users beside the live one, until it goes back or takes over by itself.

Both stay as they are meanwhile: a comparison of two versions, and of nothing else. Two are held in memory then, as the
buffer that deltas would be written into is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.config import AppConfig
from serving.arms.arm import Answered, Arm
from serving.arms.arm_table import ArmTable
from serving.arms.canary_order import CanaryOrder
from serving.arms.canary_report import CanaryReport
from serving.arms.canary_trial import CanaryTrial
from serving.arms.feedback import FeedbackReader
from serving.arms.fixed_version import FixedVersion
from serving.config import CANARY_ARM, CANARY_PREFIX, STABLE_ARM, ServingConfig
from serving.errors import CanaryError
from serving.model_store import ModelStore
from serving.version_records import VersionStatus

logger = logging.getLogger(__name__)

PROMOTED, ROLLED_BACK, STOPPED = "promoted", "rolled_back", "stopped"


@dataclass
class _Running:
    """One canary."""

    fixed: FixedVersion
    live_version: str
    """Beside it; it stays as it is."""
    share: float
    started_ms: int
    due_s: float
    trial: CanaryTrial
    feedback: FeedbackReader
    task: asyncio.Task[None] | None = None

    def saw(self, arm: Arm, answered: Answered) -> None:
        """Take one list in."""
        self.trial.answered(arm.name, answered.user_id, answered.took_s, answered.reasons, answered.is_learnt)
        if answered.is_learnt:
            self.feedback.expect(answered.request_id, arm.name, answered.user_id)


class Canaries(Collector):
    """Begins canaries, looks after the one that runs, and ends it.

    Args:
        app: what actions are worth.
        config: of the server.
        models: builds versions and lets them go live.
        table: where the arms run.
        connect: makes a consumer of the samples.
    """

    def __init__(
        self, app: AppConfig, config: ServingConfig, models: ModelStore, table: ArmTable, connect: Callable[[], Any]
    ) -> None:
        self._app = app
        self._config = config
        self._models = models
        self._table = table
        self._order = CanaryOrder(models)
        self._connect = connect
        self._running: _Running | None = None
        self._beginning = asyncio.Lock()
        self.ended = {PROMOTED: 0, ROLLED_BACK: 0, STOPPED: 0}
        self.last_end = ""
        """What became of the last one, and why."""

    @property
    def is_running(self) -> bool:
        """Whether one runs."""
        return self._running is not None

    @property
    def report(self) -> CanaryReport | None:
        """What runs; None for none."""
        running = self._running
        if running is None:
            return None
        trial = running.trial
        return CanaryReport(
            version=running.fixed.model.version,
            live_version=running.live_version,
            share=running.share,
            started_time_ms=running.started_ms,
            users=trial.users,
            failed_users=trial.failed_users,
            ranking_ms=trial.latencies_ms,
            reward=trial.rewards,
        )

    async def begin(self, version: str, share: float) -> VersionStatus:
        """Serve a version to a share of the users.

        Raises:
            CanaryError: something else compares versions already, or it is the live one.
            NoModelError: nothing is live that it could be compared with.
            VersionUnknownError: it is not kept.
            VersionRefusedError: it failed a check.
        """
        self._check_free()
        async with self._beginning:
            fixed = await self._order.begin(version)
            return self._begun(fixed, share)

    def _begun(self, fixed: FixedVersion, share: float) -> VersionStatus:
        """Deal the users, and watch."""
        version, live = fixed.model.version, self._models.need_live().version
        trial = CanaryTrial(self._config.canary, share)
        feedback = FeedbackReader(self._connect, self._app, trial.earned)
        due_s = time.monotonic() + self._config.canary.duration_s
        running = self._running = _Running(fixed, live, share, time.time_ns() // 1_000_000, due_s, trial, feedback)
        feedback.start()
        name, config = f"{CANARY_PREFIX}{version}", self._config
        arms = {
            arm: Arm(models, config.diversity, config.exploration, name, arm, running)
            for arm, models in ((STABLE_ARM, self._models), (CANARY_ARM, fixed))
        }
        self._table.run(name, arms, {STABLE_ARM: 1.0 - share, CANARY_ARM: share})
        running.task = asyncio.create_task(self._watch(running), name="watch the canary")
        logger.info("version %s serves %g of the users as a canary", version, share)
        return self._models.records.status_of(version)

    async def promote(self, why: str) -> VersionStatus | None:
        """Let the one that runs go live now; None where it has just ended."""
        running = self._running
        return None if running is None else await self._end(running, PROMOTED, why)

    async def stop(self, why: str, stays: bool) -> None:
        """End the one that runs without a verdict.

        Args:
            why: for status and log.
            stays: whether the server stays at the live version, as after a rollback; else it goes on as before.
        """
        running = self._running
        if running is not None:
            await self._end(running, ROLLED_BACK if stays else STOPPED, why)

    async def close(self) -> None:
        """End watching; a restarted server stays at the live version."""
        running, self._running = self._running, None
        if running is not None:
            self._table.end()
            if running.task is not None:
                running.task.cancel()
                await asyncio.gather(running.task, return_exceptions=True)
            await running.feedback.stop()

    def _check_free(self) -> None:
        if self._config.arms:
            raise CanaryError(
                f"the experiment {self._config.experiment!r} of headrace.yaml divides the users already; "
                "take serving.arms out and restart the server first"
            )
        if self._beginning.locked() or self._running is not None:
            other = "another one" if self._running is None else self._running.fixed.model.version
            raise CanaryError(f"a canary of {other} runs already; wait for its end, or end it with `headrace rollback`")

    async def _watch(self, running: _Running) -> None:
        while True:
            await asyncio.sleep(self._config.canary.check_s)
            if why := running.trial.fall():
                break
            if time.monotonic() >= running.due_s and running.trial.has_enough:
                break
        try:
            await self._end(running, ROLLED_BACK if why else PROMOTED, why or self._nothing_fell())
        except Exception:  # The live version serves on; nothing may be left half-way without a word.
            logger.exception("the canary of %s could not be ended", running.fixed.model.version)

    def _nothing_fell(self) -> str:
        return f"nothing fell within {self._config.canary.duration_s:g} s"

    async def _end(self, running: _Running, how: str, why: str) -> VersionStatus | None:
        """Take the users back first, then order the versions; called by the watch, or by an order."""
        if self._running is not running:
            return None
        self._running = None
        version, users = running.fixed.model.version, running.trial.users[CANARY_ARM]
        self._table.end()
        self.ended[how] += 1
        self.last_end = f"the canary {version} was {how.replace('_', ' ')} after {users} users: {why}"
        log = logger.warning if how == ROLLED_BACK else logger.info
        log("%s", self.last_end)
        end = {PROMOTED: self._order.promote, ROLLED_BACK: self._order.roll_back}
        status = await end.get(how, self._order.drop)(running.fixed, self.last_end)
        if running.task is not None and running.task is not asyncio.current_task():
            running.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running.task
        await running.feedback.stop()
        return status

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        ended = CounterMetricFamily("headrace_serving_canaries", "Canaries that ended.", labels=["result"])
        for how, count in self.ended.items():
            ended.add_metric([how], count)
        report = self.report
        share = GaugeMetricFamily("headrace_serving_canary_share", "Share of the canary that runs; 0 for none.")
        share.add_metric([], 0.0 if report is None else report.share)
        yield from (ended, share)
        took_s = {} if report is None else {arm: ms / 1000.0 for arm, ms in report.ranking_ms.items()}
        for what, text, values in (
            ("users", "Users who got a list.", report.users if report else {}),
            ("failed_users", "Users who got a list that could not be ranked.", report.failed_users if report else {}),
            ("ranking_seconds", "Geometric mean of a ranking.", took_s),
            ("reward", "Reward a list.", report.reward if report else {}),
        ):
            metric = GaugeMetricFamily(f"headrace_serving_canary_{what}", text, labels=["arm"])
            for arm, value in values.items():
                metric.add_metric([arm], value)
            yield metric
