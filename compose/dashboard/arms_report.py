"""What each arm of an experiment earns: `headrace ab status`, asked for at most once a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from compose.ab_status import report_experiment
from compose.errors import NoExperimentError
from compose.experiment_lists import SERVED_TOPIC, read_experiments
from compose.topic_scan import scan_topic
from features.config import AppConfig
from serving.arms.feedback import SAMPLES_TOPIC
from serving.config import ServingConfig

_EVERY_S = 60.0
_AGE_MS = 24 * 3_600_000
"""Of the lists that are looked at."""


class ArmsReport:
    """Reads experiments from Kafka, one pass at a time.

    Args:
        app: what actions are worth.
        serving: declared arms.
        kafka: bootstrap servers.
        clock_s: seconds that only go forward.
    """

    def __init__(
        self, app: AppConfig, serving: ServingConfig, kafka: str, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._serving = serving
        self._kafka = kafka
        self._clock_s = clock_s
        self._one_at_a_time = asyncio.Lock()
        self._read_s = -_EVERY_S
        self._report: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        """Return the report of the experiment that served last, or why there is none.

        Raises:
            StackError: Kafka does not answer.
        """
        async with self._one_at_a_time:
            if self._clock_s() - self._read_s >= _EVERY_S:
                self._report = await asyncio.to_thread(self._made)
                self._read_s = self._clock_s()
        return self._report

    def _made(self) -> dict[str, Any]:
        since_ms = time.time_ns() // 1_000_000 - _AGE_MS
        served, samples = (
            (record.value for record in scan_topic(self._kafka, topic, since_ms))
            for topic in (SERVED_TOPIC, SAMPLES_TOPIC)
        )
        try:
            return report_experiment(read_experiments(served, samples, self._app), self._serving).to_json()
        except NoExperimentError as error:
            return {"why_none": str(error)}
