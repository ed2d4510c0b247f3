"""Keeps the rules at what `headrace.yaml` says: read anew when the file changes, refused whole where it is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.config import AppConfig, ConfigError
from features.file_stamp import FileStamp, check_every, stamp_of
from serving.rules import RulesConfig, load_rules

logger = logging.getLogger(__name__)


class RulesFile(Collector):
    """The rules of one file.

    Args:
        path: `headrace.yaml`; None for no rules at all.
        app: declares the surfaces.

    Raises:
        ConfigError: the file cannot be used. Later such a file only keeps the rules as they are.
    """

    def __init__(self, path: Path | None, app: AppConfig) -> None:
        self.current = RulesConfig()
        self.refusal = ""
        """Why the file as it is now was refused; empty where it holds."""
        self.loaded = 0
        self.refused = 0
        self._path = path
        self._app = app
        self._stamp: FileStamp = None
        if path is not None:
            self._stamp = stamp_of(path)
            self.current = load_rules(path, app)

    def check(self) -> None:
        """Read the file again where it changed; a wrong one is refused and the rules stay."""
        if self._path is None or (stamp := stamp_of(self._path)) == self._stamp:
            return
        try:
            current = load_rules(self._path, self._app)
        except ConfigError as error:
            self._refuse(str(error))
            logger.warning("kept the %d rules as they were: %s", len(self.current.rules), error)
        except Exception as error:  # Whatever a file does to the parser, later files must still be looked at.
            self._refuse(f"{self._path} cannot be used: {error!r}; mend the file or restore the last good one")
            logger.exception("kept the %d rules as they were", len(self.current.rules))
        else:
            self.loaded += 1
            self.refusal = ""
            if current != self.current:
                self.current = current
                logger.info("%d rules hold now: %s", len(current.rules), ", ".join(current.rules) or "none")
        self._stamp = stamp

    async def follow(self, period_s: float) -> None:
        """Look at the file every `period_s`, for good."""
        await check_every(self.check, period_s)

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        reads = CounterMetricFamily("headrace_serving_rules_reads", "Reads of changed rules.", labels=["result"])
        reads.add_metric(["loaded"], self.loaded)
        reads.add_metric(["refused"], self.refused)
        rules = GaugeMetricFamily("headrace_serving_rules", "Rules that hold.", value=len(self.current.rules))
        stale = GaugeMetricFamily("headrace_serving_rules_stale", "1 while the file is bad.", value=bool(self.refusal))
        yield from (reads, rules, stale)

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        self.refusal = reason
