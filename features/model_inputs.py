"""From raw counters to what the ranker sees: decay to now, ratios with priors, logs, features within the list.

One compiled function for server, trainer and `evaluate`; the names in order are the schema that
`feature_schema_hash` stands for.
Letters: `N` items, `n` candidates, `H` half-lives, `F` ranker inputs, `U` user inputs, `L` history, `C` categories.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import compiled
from features.config import FeaturesConfig
from features.counter_rows import KINDS
from features.declared_features import of_entity
from features.declared_values import value_names
from features.fast_log import fast_log
from features.item_summary import popularity_of
from features.top_rows import PLACES, sort_key

PRIOR_EVENTS = 20.0
"""Strength of the prior in rates: (positives + 20 p) / (events + 20)."""
PRIOR_CLICKS = 2.0
"""Clicks, expected and real, that an item starts with: clicks over expected clicks of few lists stay near 1."""
CLIP = 5.0
"""Inputs are clipped to [-5, 5]."""
TASTE_LENGTH = 20
"""Newest items of a user whose popularity, age and publication describe the user's taste."""
SESSION_MS = 1_800_000
"""Events within half an hour before now are one session."""
MARK = 64
"""A bit of the scratch memory's marks, for passes that must know whether a row is among some others."""
_SHARE_FLOOR = 1e-5
"""Smallest probability that a log is taken of."""

VISIT_NAMES = (
    *("co_visitation_last_1", "co_visitation_last_5", "co_visitation_last_20", "co_visitation_recent"),
    *("next_item_last_1", "next_item_last_5", "co_visitation_cosine"),
)
"""Columns of `Visits`: P(next | last 1, 5, 20 items), the same over 20 weighted by recency, P(right after | last 1, 5)
and cosine of the pair counts over the last 5."""
NUM_VISITS = len(VISIT_NAMES)
RECENT_VISITS = 3
"""Column of `co_visitation_recent`."""
_RANK_NAMES = ("popularity_rank", "co_visitation_rank", "recent_rank", "title_rank", "pre_ranker_rank")
_CATEGORY_NAMES = ("category_positive_affinity", "category_event_affinity", "category_unseen")
NUM_CATEGORY_INPUTS = len(_CATEGORY_NAMES)
_ITEM_NAMES = ("tower_score", "item_age", "item_is_new", "item_known_for", "item_idle_for", "item_age_gap")
_SHOWN_NAMES = ("user_item_shown", "user_item_shown_age")
_TASTE_NAMES = (
    *("user_positive_rate", "user_history_length", "user_idle_for", "user_session_events"),
    *("user_taste_popularity", "user_taste_known_for"),
)
NUM_TASTES = len(_TASTE_NAMES)
_NUM_FIXED = NUM_VISITS + 2 + len((*_RANK_NAMES, *_CATEGORY_NAMES, *_ITEM_NAMES, *_SHOWN_NAMES, *_TASTE_NAMES))


@compiled
def num_fixed_inputs(num_half_lives: int) -> int:
    """Return how many inputs there are beside the declared ones and the last."""
    return _NUM_FIXED + 6 * num_half_lives


def pre_ranker_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the pre-ranker's inputs in order."""
    visits = [VISIT_NAMES[column] for column in (RECENT_VISITS, 1, 5, 6)]
    shares = [f"item_share_decay_{_span(half_life_s)}" for half_life_s in features.half_lives_s]
    items = ("item_age", "item_is_new", "item_known_for", "item_idle_for")
    beside = ("title_similarity", "tower_score", "item_age_gap", "hand_score")
    return (*visits, *beside, *shares, *items, *_CATEGORY_NAMES)


@compiled
def num_pre_ranker_inputs(num_half_lives: int) -> int:
    """Return how many there are."""
    return 15 + num_half_lives


def first_pre_ranker_weights(features: FeaturesConfig) -> NDArray[np.float32]:
    """Return the weights that the pre-ranker starts from, (P,): a log-linear blend of what predicts best anywhere."""
    known = {"co_visitation_recent": 0.5, "co_visitation_cosine": 0.3, "next_item_last_5": 0.1}
    known |= {"title_similarity": 0.25, "hand_score": 1.6}
    shares = 0.7 / len(features.half_lives_s)
    names = pre_ranker_input_names(features)
    weights = [known.get(name, shares if name.startswith("item_share_") else 0.0) for name in names]
    return np.array(weights, dtype=np.float32)


def user_service(features: FeaturesConfig) -> str:
    """Return the name of the Feast service with what is known of a user."""
    return f"ranker_user_v{features.service_version}"


def item_service(features: FeaturesConfig) -> str:
    """Return the name of the Feast service with what is known of an item."""
    return f"ranker_item_v{features.service_version}"


def ranker_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the ranker inputs in order; the last one is `pre_ranker_score`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    per_span = [f"item_{what}_decay_{span}" for span in spans for what in ("events", "positive_rate", "share")]
    exposure = [f"item_{what}_decay_{span}" for span in spans for what in ("lists", "clicks_over_expected")]
    fixed = (*VISIT_NAMES, "title_similarity", "hand_score", *_RANK_NAMES, *_CATEGORY_NAMES, *_ITEM_NAMES)
    declared = [name for entity in ("item", "user", "global") for name in declared_names(features, entity)]
    return (*per_span, *fixed, *exposure, *_SHOWN_NAMES, *user_input_names(features), *declared, "pre_ranker_score")


def declared_names(features: FeaturesConfig, entity: str) -> tuple[str, ...]:
    """Return the names of the inputs that the declared features of one entity give."""
    return value_names(of_entity(features.declared, entity))


def num_declared_inputs(features: FeaturesConfig) -> int:
    """Return how many inputs the declared features of all entities give."""
    return (
        sum(len(declared_names(features, entity)) for entity in ("item", "user", "global")) if features.declared else 0
    )


def user_input_names(features: FeaturesConfig) -> tuple[str, ...]:
    """Return the names of the user-level inputs, also logged as `user_row`."""
    spans = [_span(half_life_s) for half_life_s in features.half_lives_s]
    return (*[f"user_events_decay_{span}" for span in spans], *_TASTE_NAMES)


def feature_schema_hash(features: FeaturesConfig) -> str:
    """Name the schema: 16 hex digits over the input names, the kinds and the half-lives."""
    services = [user_service(features), item_service(features)]
    meanings = [feature.definition() for feature in features.declared.values()]
    names = "\n".join([*services, *KINDS, *ranker_input_names(features), *pre_ranker_input_names(features), *meanings])
    return hashlib.sha256(names.encode()).hexdigest()[:16]


class ItemArrays(NamedTuple):
    """An item table as compiled code takes it, in the table's rows."""

    sums: NDArray[np.float64]
    """(N, H, 3) not decayed."""
    decay: NDArray[np.float64]
    """(H,) factors that decay them to now."""
    totals: NDArray[np.float64]
    """(H, 3) of all items, decayed."""
    exposure: NDArray[np.float64]
    """(<= N, H, 3) lists, expected clicks and clicks, not decayed; rows beyond it were never shown."""
    exposure_decay: NDArray[np.float64]
    """(H,)"""
    categories: NDArray[np.int32]
    """(N, M) codes, -1 where there is no more."""
    published_ms: NDArray[np.int64]
    """(N,) 0 where unknown."""


class UserArrays(NamedTuple):
    """A user as compiled code takes it."""

    counts: NDArray[np.float64]
    """(H, 3) decayed to now."""
    history_rows: NDArray[np.int64]
    """(L,) in the lists' rows, newest first, -1 unknown."""
    history_times_ms: NDArray[np.int64]
    """(L,)"""
    category_codes: NDArray[np.int64]
    """(C,) known categories of the user."""
    category_counts: NDArray[np.float64]
    """(C, 3) decayed to now."""
    shown_rows: NDArray[np.int64]
    """(E,) items on the user's lists, -1 unknown, an item as often as it was shown."""
    shown_times_ms: NDArray[np.int64]
    """(E,)"""


@compiled
def log_share(share: float) -> float:
    """Scale a probability: log share, shifted so that a typical candidate is near 0."""
    return (fast_log(share + _SHARE_FLOOR) + 6.0) / 2.0


def share_of_log(scaled: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Undo `log_share`, any shape; below the floor of a probability it gives 0."""
    share: NDArray[np.float64] = np.exp(2.0 * np.asarray(scaled, dtype=np.float64) - 6.0) - _SHARE_FLOOR
    return np.maximum(share, 0.0)


@compiled
def known_for(seen_ms: int, now_ms: int) -> float:
    """Return log hours since a time, scaled; 0 where it is unknown."""
    hours = fast_log(1.0 + max(now_ms - seen_ms, 0) / 3.6e6) / 2.0
    return hours if seen_ms else 0.0


@compiled
def log_similarity(similarity: float) -> float:
    """Scale a title similarity in [0, 1]: its log with a floor."""
    return (fast_log(similarity + 1e-2) + 2.0) / 2.0 if similarity > 0.0 else -1.3025850929940455


@compiled
def age_gap(published_ms: int, taste_published_ms: float) -> float:
    """Return log days between an item's publication and that of the user's newest items; 0 where unknown."""
    days = fast_log(1.0 + abs(published_ms - taste_published_ms) / 8.64e7) / 2.0  # Without a branch: eight at once.
    return days if published_ms and taste_published_ms != 0.0 else 0.0


@compiled
def mean_published_ms(user: UserArrays, table_rows: NDArray[np.int64], items: ItemArrays) -> float:
    """Return the mean publication time of the user's newest items, 0 where none is known."""
    known, total = 0, 0.0
    for index in range(min(len(user.history_rows), TASTE_LENGTH)):
        row = user.history_rows[index]
        if row >= 0 and items.published_ms[table_rows[row]]:
            known += 1
            total += items.published_ms[table_rows[row]]
    return total / known if known else 0.0


@compiled
def fill_item_inputs(
    rows: NDArray[np.int64],
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    out: NDArray[np.float32],
    column: int,
) -> int:
    """Write volume, positive rate against the global one and share of positives per half-life.

    (H * 3, n) from `column` on, half-life-major; returns the next column. A column at a time: a processor takes eight
    logs at once where nothing else stands in the loop.
    """
    sums, decay, totals, spans, size = items.sums, items.decay, items.totals, len(items.decay), len(rows)
    counts = np.empty((2 * spans, size))
    for place in range(size):
        row = table_rows[rows[place]]
        for span in range(spans):
            counts[2 * span, place] = sums[row, span, 0] * decay[span]
            counts[2 * span + 1, place] = sums[row, span, 1] * decay[span]
    for span in range(spans):
        prior, at_least = (totals[span, 1] + 1.0) / (totals[span, 0] + 2.0), max(totals[span, 1], 1.0)
        events, positives, at = counts[2 * span], counts[2 * span + 1], column + 3 * span
        for place in range(size):
            out[at, place] = fast_log(1.0 + events[place])
        for place in range(size):
            rate = (positives[place] + PRIOR_EVENTS * prior) / (events[place] + PRIOR_EVENTS)
            out[at + 1, place] = 4.0 * fast_log(rate / prior)
        for place in range(size):
            out[at + 2, place] = log_share(positives[place] / at_least)
    return column + 3 * spans


@compiled
def fill_exposure_inputs(
    rows: NDArray[np.int64], table_rows: NDArray[np.int64], items: ItemArrays, out: NDArray[np.float32], column: int
) -> int:
    """Write how often items were listed and their clicks over expected clicks per half-life; 0 where never listed.

    (H * 2, n) from `column` on; returns the next column.
    """
    decay, exposure, spans, size = items.exposure_decay, items.exposure, len(items.exposure_decay), len(rows)
    counts = np.zeros((3 * spans, size))
    for place in range(size):
        row = table_rows[rows[place]]
        for index in range(3 * spans if row < len(exposure) else 0):
            counts[index, place] = exposure[row, index // 3, index % 3] * decay[index // 3]
    for span in range(spans):
        lists, expected, clicks, at = counts[3 * span], counts[3 * span + 1], counts[3 * span + 2], column + 2 * span
        for place in range(size):
            out[at, place] = fast_log(1.0 + lists[place])
        for place in range(size):
            out[at + 1, place] = fast_log((clicks[place] + PRIOR_CLICKS) / (expected[place] + PRIOR_CLICKS))
    return column + 2 * spans


@compiled
def category_leans(user: UserArrays, category_shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much more than others the user leans to each category: by positives, by events, and 1 if never seen.

    Log of (the user's share of a category, with a prior of 5 events spread as everyone's, over everyone's share);
    (codes, 3), of no codes where nothing is known of the user.
    """
    num_codes = len(category_shares)
    positives = events = 0.0
    for index in range(len(user.category_codes)):
        positives += user.category_counts[index, 1]
        events += user.category_counts[index, 0]
    leans = np.empty((num_codes if events > 0.0 else 0, 3))
    of_nothing = fast_log(5.0 / (positives + 5.0)), fast_log(5.0 / (events + 5.0))
    for code in range(len(leans)):
        leans[code, 0], leans[code, 1], leans[code, 2] = of_nothing[0], of_nothing[1], 1.0
    for index in range(len(user.category_codes)):
        code = user.category_codes[index]
        if code >= len(leans):
            continue
        leans[code, 2] = 0.0
        for kind in range(2):
            share = category_shares[code, kind] + 1e-4
            total = positives if kind == 0 else events
            count = user.category_counts[index, 1 - kind]
            leans[code, kind] = fast_log((count + 5.0 * share) / ((total + 5.0) * share))
    return leans


@compiled
def fill_ages(
    published_ms: NDArray[np.int64], seen_ms: NDArray[np.int64], now_ms: int, out: NDArray[np.float32], column: int
) -> int:
    """Write log age since publication, whether under an hour, and since first and last event; 0 where unknown.

    (4, n) from `column` on; returns the next column.

    Args:
        published_ms: (n,)
        seen_ms: (2, n) first and last event.
        now_ms: as of when.
        out: (F, >= n)
        column: the first.
    """
    size = len(published_ms)
    for place in range(size):
        hours = max(now_ms - published_ms[place], 0) / 3.6e6
        age = fast_log(1.0 + hours) / 4.0
        out[column, place] = age if published_ms[place] else 0.0
    for place in range(size):
        hours = max(now_ms - published_ms[place], 0) / 3.6e6
        out[column + 1, place] = 1.0 if published_ms[place] and hours < 1.0 else 0.0
    for kind in range(2):
        times_ms = seen_ms[kind]
        for place in range(size):
            out[column + 2 + kind, place] = known_for(times_ms[place], now_ms)
    return column + 4


@compiled
def fill_age_inputs(
    rows: NDArray[np.int64],
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    seen_ms: NDArray[np.int64],
    now_ms: int,
    out: NDArray[np.float32],
    column: int,
) -> int:
    """Write what `fill_ages` writes of some rows."""
    published_ms, size = items.published_ms, len(rows)
    published, seen = np.empty(size, dtype=np.int64), np.zeros((2, size), dtype=np.int64)
    for place in range(size):
        row = rows[place]
        published[place] = published_ms[table_rows[row]]
        if row < len(seen_ms):
            seen[0, place], seen[1, place] = seen_ms[row, 0], seen_ms[row, 1]
    return fill_ages(published, seen, now_ms, out, column)


@compiled
def fill_shown_inputs(
    rows: NDArray[np.int64],
    user: UserArrays,
    now_ms: int,
    marks: NDArray[np.uint8],
    out: NDArray[np.float32],
    column: int,
) -> int:
    """Write how often the user was shown each candidate, and log hours since the last time; both 0 where never.

    (2, n) from `column` on, zeros before; returns the next column.
    `marks` (N,) is left as it is: a bit of it tells for the time of this call which rows are candidates.
    """
    for row in rows:
        marks[row] |= MARK
    for index in range(len(user.shown_rows)):
        row = user.shown_rows[index]
        if not (0 <= row < len(marks) and marks[row] & MARK):
            continue
        marks[row] ^= MARK  # An item is counted where it stands first.
        times, newest_ms = 0, 0
        for later in range(index, len(user.shown_rows)):
            if user.shown_rows[later] == row:
                times += 1
                newest_ms = max(newest_ms, user.shown_times_ms[later])
        for place in range(len(rows)):
            if rows[place] == row:
                out[column, place] = fast_log(1.0 + times)
                out[column + 1, place] = fast_log(1.0 + max(now_ms - newest_ms, 0) / 3.6e6)
    for row in rows:
        marks[row] &= 255 ^ MARK
    return column + 2


@compiled
def fill_user_inputs(
    user: UserArrays,
    table_rows: NDArray[np.int64],
    items: ItemArrays,
    seen_ms: NDArray[np.int64],
    now_ms: int,
    out: NDArray[np.float32],
) -> None:
    """Write the user-level inputs (U,), clipped."""
    spans = len(user.counts)
    for span in range(spans):
        out[span] = fast_log(1.0 + user.counts[span, 0])
    rate = (user.counts[-1, 1] + 0.5 * PRIOR_EVENTS) / (user.counts[-1, 0] + PRIOR_EVENTS)
    out[spans] = fast_log(rate / (1.0 - rate))
    out[spans + 1] = fast_log(1.0 + len(user.history_rows))
    session = 0
    for index in range(len(user.history_rows)):
        session += now_ms - user.history_times_ms[index] < SESSION_MS
    if len(user.history_rows):
        out[spans + 2] = fast_log(1.0 + max(now_ms - user.history_times_ms[0], 0) / 6e4) / 2.0
    out[spans + 3] = fast_log(1.0 + session)
    known, popular, old = 0, 0.0, 0.0
    for index in range(min(len(user.history_rows), TASTE_LENGTH)):
        row = user.history_rows[index]
        if row < 0:
            continue
        table_row = table_rows[row]
        known += 1
        popular += log_share(popularity_of(items.sums[table_row], items.decay, items.totals))
        if row < len(seen_ms):
            old += known_for(seen_ms[row, 0], now_ms)
    if known:
        out[spans + 4] = popular / known
        out[spans + 5] = old / known
    for index in range(len(out)):
        out[index] = min(max(out[index], -CLIP), CLIP)


_LOG_RANKS = np.log1p(np.arange(1024)) / 4.0
_COUNTED = 256
"""Up to so many, to count who is above each takes less than to sort: eight are compared at once."""


@compiled
def _log_rank(rank: int) -> float:
    return _LOG_RANKS[rank] if rank < len(_LOG_RANKS) else fast_log(1.0 + rank) / 4.0


@compiled
def fill_ranks(values: NDArray[np.floating[Any]], out: NDArray[np.float32], column: int) -> None:
    """Write log ranks within the list, best = 0, scaled to about [0, 1.4]; values (n,), equal ones in their order."""
    size = len(values)
    least = values.min() if size else 0.0
    keys, above = np.empty(size, dtype=np.int64), 0
    for place in range(size):  # Most columns are mostly 0, and what is sorted costs.
        if values[place] > least:
            keys[above] = sort_key(values[place], place)
            above += 1
    keys = keys[:above]
    if above <= _COUNTED:
        for one in range(above):
            rank, key = 0, keys[one]
            for other in range(above):
                rank += keys[other] < key
            out[column, key & PLACES] = _log_rank(rank)
    else:
        order = np.sort(keys)
        for rank in range(above):
            out[column, order[rank] & PLACES] = _log_rank(rank)
    rank = above
    for place in range(size):
        if not values[place] > least:
            out[column, place] = _log_rank(rank)
            rank += 1


def _span(half_life_s: float) -> str:
    """Write 60 as `1m`, 3600 as `1h`, 86400 as `1d`."""
    for unit, seconds in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if half_life_s >= seconds and half_life_s % seconds == 0:
            return f"{half_life_s / seconds:.12g}{unit}"
    return f"{half_life_s:.12g}s"
