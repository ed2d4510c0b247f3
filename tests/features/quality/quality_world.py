"""Four weeks of a living app, seeded: days, weekends, growth, sessions, new items, campaigns, outages, noisy networks.

Made as columns, so that a world of millions of events costs seconds. What a producer does on a bad day (retries, broken
records, offline phones) is part of the clean world; `dirty_hours.py` plants what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from features.config import AppConfig, load_app_config
from features.quality.event_columns import EventColumns
from features.quality.window_counts import WindowInput

ROOT = Path(__file__).parents[3]
DAY_S, HOUR_S = 86_400, 3600
START_MS = 1_699_833_600_000
"""A Monday, midnight UTC."""
ACTIONS = ("view", "click", "like", "purchase", "dislike", "dismiss", "rating")
_MIX = np.array([0.66, 0.18, 0.05, 0.02, 0.01, 0.02, 0.06])

Array = NDArray[np.int64]


def shipped_app() -> AppConfig:
    """Return the app of the shipped `headrace.yaml`, whose actions the world uses in this order."""
    app = load_app_config(ROOT / "headrace.yaml")
    assert tuple(app.actions) == ACTIONS
    return app


@dataclass(frozen=True)
class Campaign:
    """A promotion: more visits, other visitors, on few items, who buy more."""

    start_s: int
    end_s: int
    visits: float
    """Factor of the traffic."""
    item_share: float
    """Share of the events on the promoted items."""
    items: int
    first_item: int
    new_users: float
    purchases: float


@dataclass(frozen=True)
class Traffic:
    """What one app is like, drawn once."""

    events_per_s: float
    daily_swing: float
    peak_hour: float
    weekend: float
    weekly_growth: float
    users: int
    new_user_share: float
    items: int
    items_per_day: int
    user_skew: float
    item_skew: float
    request_share: float
    duplicate_share: float
    broken_share: float
    late_share: float
    rating_mean: float
    release_day: int
    """From here on a new version of the app clicks more."""


def ids_of(numbers: Array, salt: int) -> NDArray[np.uint64]:
    """Mix numbers to ids (splitmix64)."""
    x = numbers.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class QualityWorld:
    """One app's clean traffic.

    Args:
        seed: of everything.
        events_per_s: mean of the first week; drawn between 2 and 8 where not given.
        days: how long it lives.
    """

    def __init__(self, seed: int, events_per_s: float | None = None, days: int = 28) -> None:
        random = np.random.default_rng([seed, 1])
        self.seed = seed
        self.days = days
        self.traffic = _draw_traffic(random, events_per_s)
        self.campaigns = _draw_campaigns(random, days, self.traffic)
        self.outages = [(int(random.integers(DAY_S, days * DAY_S)), int(random.integers(900, 3000))) for _ in range(2)]
        self.salt = seed + 1

    def windows(self, window_s: int = 60) -> Iterator[WindowInput]:
        """Yield every window, in order."""
        users, scores = self.traffic.users, np.random.default_rng([self.seed, 2]).normal(size=self.traffic.items)
        number = 0
        for day in range(self.days):
            random = np.random.default_rng([self.seed, 3, day])
            scores = np.concatenate([scores * 0.995, random.normal(0.8, 0.8, self.traffic.items_per_day)])
            scores += random.normal(0, 0.1, len(scores))
            times_s, columns, users = self._day(day, random, users, np.argsort(-scores), number)
            number += len(times_s) + 1_000_000
            yield from self._sliced(day, times_s, columns, random, window_s)

    def _day(
        self, day: int, random: Generator, users: int, by_rank: Array, first_event: int
    ) -> tuple[NDArray[np.float64], EventColumns, int]:
        """Return the events of one day in order of time, and the number of users behind it."""
        traffic = self.traffic
        starts_s = self._session_starts(day, random)
        lengths = np.minimum(np.ceil(random.lognormal(1.5, 0.9, len(starts_s))), 120).astype(np.int64)
        is_new = random.random(len(starts_s)) < traffic.new_user_share + self._at(starts_s, "new_users")
        old = (users * random.random(len(starts_s)) ** traffic.user_skew).astype(np.int64)
        session_users = np.where(is_new, users + np.cumsum(is_new), old)
        session = np.repeat(np.arange(len(starts_s)), lengths)
        gaps_s = random.exponential(12.0, len(session))
        ends = np.cumsum(lengths)
        within_s = np.cumsum(gaps_s) - np.repeat(np.concatenate([[0.0], np.cumsum(gaps_s)[ends[:-1] - 1]]), lengths)
        times_s = starts_s[session] + within_s
        order = np.argsort(times_s)[: np.searchsorted(np.sort(times_s), (day + 1) * DAY_S)]
        times_s, session = times_s[order], session[order]
        actions = self._actions(times_s, random)
        columns = EventColumns(
            events=ids_of(first_event + np.arange(len(times_s)), 7 * self.salt),
            users=ids_of(session_users[session], 11 * self.salt),
            items=ids_of(self._items(times_s, random, by_rank), 13 * self.salt),
            actions=actions.astype(np.int16),
            values=self._values(actions, random),
            age_ms=self._ages(times_s, random),
            has_request=(random.random(len(times_s)) < traffic.request_share).astype(np.int8),
        )
        return times_s, columns, users + int(is_new.sum()) + 1

    def _session_starts(self, day: int, random: Generator) -> NDArray[np.float64]:
        grid_s = day * DAY_S + np.arange(0, DAY_S, 60.0)
        rate = self.rate_at(grid_s) / 6.0 * np.exp(_walk(random, len(grid_s), 0.1))
        counts = random.poisson(rate * 60.0)
        return np.sort(np.repeat(grid_s, counts) + random.random(counts.sum()) * 60.0)

    def rate_at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the expected events per second."""
        traffic = self.traffic
        hours = times_s / HOUR_S % 24
        daily = 1 + traffic.daily_swing * np.cos((hours - traffic.peak_hour) / 24 * 2 * np.pi)
        weekly = np.where(times_s // DAY_S % 7 >= 5, traffic.weekend, 1.0)
        growth = (1 + traffic.weekly_growth) ** (times_s / DAY_S / 7)
        rate = traffic.events_per_s * daily * weekly * growth * (1 + self._at(times_s, "visits"))
        for start_s, length_s in self.outages:
            rate = np.where((times_s >= start_s) & (times_s < start_s + length_s), 0.05 * rate, rate)
            rate = np.where((times_s >= start_s + length_s) & (times_s < start_s + length_s + 180), 3 * rate, rate)
        expected: NDArray[np.float64] = rate
        return expected

    def _at(self, times_s: NDArray[np.float64], what: str) -> NDArray[np.float64]:
        """Return the sum of one property over the campaigns that run at each time."""
        total = np.zeros(len(times_s))
        for campaign in self.campaigns:
            total += np.where((times_s >= campaign.start_s) & (times_s < campaign.end_s), getattr(campaign, what), 0.0)
        return total

    def _actions(self, times_s: NDArray[np.float64], random: Generator) -> Array:
        evening = 1 + 0.25 * np.cos((times_s / HOUR_S % 24 - 20) / 24 * 2 * np.pi)
        weights = np.tile(_MIX, (len(times_s), 1))
        weights[:, 1] *= np.where(times_s >= self.traffic.release_day * DAY_S, 1.25, 1.0)
        weights[:, 2:4] *= evening[:, None]
        weights[:, 3] *= 1 + self._at(times_s, "purchases")
        weights[:, 1:] *= np.exp(_walk(random, 1440, 0.08))[(times_s // 60 % 1440).astype(int)][:, None]
        steps = np.cumsum(weights, axis=1)
        drawn: Array = (random.random((len(times_s), 1)) * steps[:, -1:] > steps).sum(axis=1)
        return drawn

    def _items(self, times_s: NDArray[np.float64], random: Generator, by_rank: Array) -> Array:
        items = by_rank[(len(by_rank) * random.random(len(times_s)) ** self.traffic.item_skew).astype(np.int64)]
        for campaign in self.campaigns:
            is_on = (times_s >= campaign.start_s) & (times_s < campaign.end_s)
            is_on &= random.random(len(times_s)) < campaign.item_share
            promoted = campaign.first_item + (campaign.items * random.random(len(times_s)) ** 1.5).astype(np.int64)
            items = np.where(is_on, promoted, items)
        return items

    def _values(self, actions: Array, random: Generator) -> NDArray[np.float64]:
        size = len(actions)
        dwell_s, price = random.lognormal(2.5, 1.0, size), np.round(random.lognormal(3.0, 0.8, size), 2)
        rating = np.clip(np.rint(random.normal(self.traffic.rating_mean, 1.1, size)), 1, 5)
        values = np.select([actions == 0, actions == 3, actions == 6], [np.round(dwell_s, 1), price, rating], np.nan)
        values[(actions == 0) & (random.random(size) < 0.3)] = np.nan
        return values

    def _ages(self, times_s: NDArray[np.float64], random: Generator) -> Array:
        age_ms = random.exponential(400.0, len(times_s)) + 20
        commute = np.isin((times_s // HOUR_S % 24).astype(int), (8, 18))
        is_late = random.random(len(times_s)) < self.traffic.late_share * np.where(commute, 4.0, 1.0)
        age_ms[is_late] += random.exponential(2.5 * HOUR_S * 1000, is_late.sum())
        is_ahead = random.random(len(times_s)) < 0.002
        age_ms[is_ahead] -= 60_000
        return np.minimum(age_ms, 23.9 * HOUR_S * 1000).astype(np.int64)

    def _sliced(
        self, day: int, times_s: NDArray[np.float64], columns: EventColumns, random: Generator, window_s: int
    ) -> Iterator[WindowInput]:
        """Cut a day into windows; retries and broken records come in bursts of minutes."""
        edges = np.searchsorted(times_s, day * DAY_S + np.arange(0, DAY_S + 1, window_s))
        bursts = random.random((len(edges), 2)) < 0.004 * window_s / 60
        for place, (low, high) in enumerate(pairwise(edges)):
            start_ms = START_MS + 1000 * (day * DAY_S + place * window_s)
            window = WindowInput(start_ms, start_ms + 1000 * window_s, sliced(columns, slice(low, high)))
            again = min(0.3, self.traffic.duplicate_share * (20.0 if bursts[place, 0] else 1.0))
            broken = min(0.05, self.traffic.broken_share * (10.0 if bursts[place, 1] else 1.0))
            yield with_noise(window, again, broken, random)


def sliced(columns: EventColumns, chosen: slice | Array | NDArray[np.bool_]) -> EventColumns:
    """Return some of the events."""
    names = ("events", "users", "items", "actions", "values", "age_ms", "has_request")
    return replace(columns, **{name: getattr(columns, name)[chosen] for name in names})


def joined(first: EventColumns, second: EventColumns) -> EventColumns:
    """Return the events of both."""
    names = ("events", "users", "items", "actions", "values", "age_ms", "has_request")
    both = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    unusable = {reason: first.unusable.get(reason, 0) for reason in first.unusable}
    return replace(first, unusable=unusable, **both)


def with_noise(window: WindowInput, again: float, broken: float, random: Generator) -> WindowInput:
    """Send a share of the events twice and break a share of the records; the feature job rejects the broken."""
    columns = window.columns
    size = len(columns.events)
    columns = joined(columns, sliced(columns, random.random(size) < again))
    is_broken = random.random(len(columns.events)) < broken
    unusable = {"not_json": int(is_broken.sum())} if is_broken.any() else {}
    columns = replace(sliced(columns, ~is_broken), unusable=unusable)
    return replace(window, columns=columns, dead_letters=unusable)


def _walk(random: Generator, steps: int, scale: float) -> NDArray[np.float64]:
    """Return noise that stays alike for an hour or so: (steps,)."""
    knots = random.normal(0, scale, steps // 60 + 2)
    return np.interp(np.arange(steps) / 60, np.arange(len(knots)), knots)


def _draw_traffic(random: Generator, events_per_s: float | None) -> Traffic:
    drawn = float(np.exp(random.uniform(np.log(2.0), np.log(8.0))))
    return Traffic(
        events_per_s=drawn if events_per_s is None else events_per_s,
        daily_swing=random.uniform(0.4, 0.75),
        peak_hour=random.uniform(12, 22),
        weekend=random.uniform(0.7, 1.4),
        weekly_growth=random.uniform(0.0, 0.15),
        users=int(random.integers(3000, 20_000)),
        new_user_share=random.uniform(0.02, 0.08),
        items=int(random.integers(1000, 5000)),
        items_per_day=int(random.integers(10, 80)),
        user_skew=random.uniform(1.1, 1.6),
        item_skew=random.uniform(1.5, 3.0),
        request_share=random.uniform(0.4, 0.8),
        duplicate_share=random.uniform(0.001, 0.005),
        broken_share=random.uniform(0.0005, 0.004),
        late_share=random.uniform(0.002, 0.015),
        rating_mean=random.uniform(3.2, 4.0),
        release_day=int(random.integers(7, 21)),
    )


def _draw_campaigns(random: Generator, days: int, traffic: Traffic) -> list[Campaign]:
    campaigns = []
    for _ in range(int(random.integers(2, 6))):
        start_s = int(random.integers(DAY_S, days * DAY_S - 8 * HOUR_S))
        campaigns.append(
            Campaign(
                start_s=start_s,
                end_s=start_s + int(random.uniform(0.25, 6.0) * HOUR_S),
                visits=random.uniform(0.3, 2.0),
                item_share=random.uniform(0.1, 0.35),
                items=int(random.integers(3, 30)),
                first_item=int(random.integers(0, traffic.items)),
                new_users=random.uniform(0.0, 0.15),
                purchases=random.uniform(0.2, 1.5),
            )
        )
    return campaigns
