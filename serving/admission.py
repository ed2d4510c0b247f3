"""Refuses early what could not be answered in time: quotas by token, bounded concurrency, prefetches first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.budget import Budget
from serving.config import OverloadConfig
from serving.errors import OverloadedError, QuotaError
from serving.quota import Quota


class Admission(Collector):
    """Counts what is in work, and lets in what can be answered in time.

    Args:
        config: bounds.
        always: requests in work below which everything is let in: what one thread has at hand anyway.
        cost_s: tells what a request takes of late.
        quota: of each token.
    """

    def __init__(
        self, config: OverloadConfig, always: int, cost_s: Callable[[], float], quota: Quota | None = None
    ) -> None:
        self.in_flight = 0
        self.refused = {"quota": 0, "busy": 0, "prefetch": 0, "late": 0}
        """Reason -> how often."""
        self._config = config
        self._always = always
        self._cost_s = cost_s
        self._quota = quota or Quota(config.quota_per_s, config.quota_burst_s)

    @contextmanager
    def admit(self, token: str, is_prefetch: bool, budget: Budget) -> Iterator[None]:
        """Hold a place for one request.

        Raises:
            QuotaError: the token has used its requests up.
            OverloadedError: too many requests are before this one.
        """
        self._check_places(is_prefetch, budget)  # First: who is refused as busy keeps the token's request.
        self._check_quota(token)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def refuse_late(self) -> NoReturn:
        """Refuse a request whose client has given up already: work for it would only make others late.

        Raises:
            OverloadedError: always.
        """
        self.refused["late"] += 1
        retry_ms = self._config.retry_ms
        raise OverloadedError(
            f"the deadline passed before this request's turn came; come again in {retry_ms} ms, or ask another server",
            retry_ms=retry_ms,
        )

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        refused = CounterMetricFamily("headrace_serving_refused", "Requests refused.", labels=["reason"])
        for reason, count in self.refused.items():
            refused.add_metric([reason], count)
        yield from (refused, GaugeMetricFamily("headrace_serving_in_flight", "Requests in work.", value=self.in_flight))

    def _check_quota(self, token: str) -> None:
        wait_s = self._quota.take(token)
        if wait_s:
            self.refused["quota"] += 1
            raise QuotaError(
                f"this token has {self._config.quota_per_s:g} requests a second and used them up; "
                f"come again in {wait_s * 1000.0:.0f} ms",
                retry_ms=int(wait_s * 1000.0) + 1,
            )

    def _check_places(self, is_prefetch: bool, budget: Budget) -> None:
        config = self._config
        share = config.prefetch_share if is_prefetch else 1.0
        waits_s = self.in_flight * self._cost_s()
        is_busy = self.in_flight >= self._always and waits_s > share * config.busy_share * budget.left_s()
        if is_busy or self.in_flight >= share * config.max_in_flight:
            self.refused["prefetch" if is_prefetch else "busy"] += 1
            raise OverloadedError(
                f"{self.in_flight} requests are before this one, about {waits_s * 1000.0:.0f} ms of work; "
                f"come again in {config.retry_ms} ms, or ask another server",
                retry_ms=config.retry_ms,
            )
