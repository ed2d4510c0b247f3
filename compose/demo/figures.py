"""From what a run noted to the figures that people read: the snapshot of a moment, and the summary at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compose.demo.freshness import percentiles
from compose.demo.measurements import Measurements
from compose.demo.pacing import PlannedEvent, Turn
from compose.demo.replay import HitBook, Pace, hit_rate
from compose.demo.stack_client import RequestStats
from compose.demo.view import Snapshot
from compose.demo.visitors import VisitStats


@dataclass(frozen=True)
class RunFigures:
    """Reads the books of one run.

    All but `pace` and `restarts` are shared with the running session, which writes them.
    """

    data_name: str
    num_items: int
    """Size of the announced catalogue."""
    plan: Sequence[PlannedEvent]
    popularity_hits: NDArray[np.bool_]
    book: HitBook
    """Of the live server."""
    stats: RequestStats
    """Of the live server."""
    all_stats: Sequence[RequestStats]
    """Of every server asked."""
    visits: VisitStats
    pace: Pace
    measurements: Measurements
    restarts: Callable[[], Mapping[str, int]]

    @property
    def coverage(self) -> float:
        """Share of the catalogue that stood in a probed list."""
        return len(self.book.shown) / max(1, self.num_items)

    def snapshot(self, elapsed_s: float, events_done: int) -> Snapshot:
        """Return the figures of now."""
        measured, scored = self.measurements, self.book.is_scored
        versions = measured.served.versions
        return Snapshot(
            elapsed_s=elapsed_s,
            events_done=events_done,
            events_planned=len(self.plan),
            events_per_s=len(measured.sent) / max(elapsed_s, 1e-9),
            hit_rate=hit_rate(self.book.hits, scored),
            popularity_hit_rate=hit_rate(self.popularity_hits, scored),
            scored=int(scored.sum()),
            coverage=self.coverage,
            model_version=versions[-1] if versions else "",
            swaps=max(0, len(versions) - 1),
            event_to_feature_ms=percentiles(measured.features.latencies_ms),
            event_to_served_ms=percentiles(measured.served.latencies_ms),
            recommend_ms=percentiles(self.stats.latencies_ms),
            failed_requests=self.stats.num_failed,
            retried_requests=self.stats.num_retried,
            visitor_lists=self.visits.lists,
            visitor_clicks=self.visits.clicks,
            behind_s=self.pace.lag_s,
            stage_lags=measured.lags.read(),
            restarts=self.restarts(),
        )

    def summary(self, events_done: int, events_unsent: int, replay_s: float) -> dict[str, Any]:
        """Return the figures of the whole run, as `--json` writes them."""
        return {
            "data": self.data_name,
            "events": events_done,
            **self._quality(),
            **self._freshness(),
            **self._requests(),
            **self._books(),
            "events_unsent": events_unsent,
            "visitor": self.visits.to_json(),
            "restarts": dict(self.restarts()),
            "largest_lag_s": round(self.pace.largest_lag_s, 2),
            "replay_s": round(replay_s, 2),
        }

    def _quality(self) -> dict[str, Any]:
        scored, late = self.book.is_scored, self.book.late()
        turns = Counter(planned.turn for planned in self.plan)
        return {
            "scored": int(scored.sum()),
            "skipped_cold": turns[Turn.COLD],
            "skipped_repeated": turns[Turn.REPEATED],
            "hr@10": round(hit_rate(self.book.hits, scored), 5),
            "hr@10_late": round(hit_rate(self.book.hits, late), 5),
            "popularity_hr@10": round(hit_rate(self.popularity_hits, scored), 5),
            "popularity_hr@10_late": round(hit_rate(self.popularity_hits, late), 5),
            "coverage": round(self.coverage, 5),
        }

    def _freshness(self) -> dict[str, Any]:
        features, served = self.measurements.features, self.measurements.served
        return {
            "model_versions": len(served.versions),
            "newest_model_version": served.versions[-1] if served.versions else "",
            "swaps": max(0, len(served.versions) - 1),
            "event_to_feature_ms": {
                **percentiles(features.latencies_ms),
                "events": len(features.latencies_ms),
                "given_up": features.num_given_up,
            },
            "event_to_served_ms": {
                **percentiles(served.latencies_ms),
                "events": len(served.latencies_ms),
                "open": served.num_open,
            },
        }

    def _requests(self) -> dict[str, Any]:
        return {
            "recommend_ms": {**percentiles(self.stats.latencies_ms), "requests": len(self.stats.latencies_ms)},
            "failed_requests": sum(stats.num_failed for stats in self.all_stats),
            "retried_requests": sum(stats.num_retried for stats in self.all_stats),
            "degraded": dict(self.stats.degraded),
        }

    def _books(self) -> dict[str, Any]:
        balance = self.measurements.ledger.balance()
        return {
            "samples": dict(self.measurements.samples),
            "events_acked": balance.acked,
            "events_accounted": balance.accounted,
            "events_lost": balance.events_lost,
            "events_doubled": balance.events_doubled,
            "sample_duplicates": balance.sample_duplicates,
            "dead_letters": balance.dead_letters,
        }
