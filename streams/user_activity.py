"""What events say of a user: counters, the newest events and the categories of their items, in one row per user.

    events and the categories of their items -> signed changes -> one aggregation keyed by user -> user_activity

One row for all of it, written once an event: what costs in a feature job is the rows it writes. `CATEGORIZE_EVENTS`
(java/CategorizeEvents.java) remembers both, so an event that comes before its item counts for its categories once the
item comes, and an item whose categories change moves the events of the last two horizons over. Such an event comes
again, first taken back (`sign` -1), then anew: sums follow the sign, everything else is the same however often an event
comes. Items never expire.
"""

from __future__ import annotations

from collections.abc import Mapping

from features.config import AppConfig
from streams.counters import decayed_sums
from streams.declared_sql import declared_columns, declared_row
from streams.events import EVENTS, is_id, milliseconds
from streams.retention import event_window_ms
from streams.sql_text import View, listed

VIEW = "user_activity"
PACKED: Mapping[str, str] = {"history": "events", "affinity": "categories"}
"""Columns whose bytes hold several values, taken apart by the format: lists of texts are slow to copy at every step."""

_MAX_CATEGORIES_PER_ITEM = 32
_ANEW = "`sign` = 1"
_SIGN = "CAST(`sign` AS DOUBLE)"
_AMOUNTS = (
    _SIGN,
    f"CASE WHEN `outcome` = 1 THEN {_SIGN} ELSE CAST(0 AS DOUBLE) END",
    f"CASE WHEN `outcome` = -1 THEN {_SIGN} ELSE CAST(0 AS DOUBLE) END",
)
"""What one change adds: events, positives, negatives."""


def user_activity_columns(app: AppConfig) -> str:
    """Return protos/features.proto UserActivity between `entity_id` and `event_time_ms`, as the table has it.

    `history` holds history_item_ids, history_actions, history_times_ms and history_outcomes, `affinity` category_names
    and category_counts.
    """
    return listed(
        "`counters` ARRAY<DOUBLE>",
        "`history` BYTES",
        "`affinity` BYTES",
        declared_columns(app.features.declared, "user"),
    )


def user_views(app: AppConfig) -> list[View]:
    """Return the views from item records and events to `user_changes`, in the order of their definition."""
    return [
        View("events_to_categorize", _categorized_input()),
        View("item_categories", _item_categories()),
        View("user_changes", _user_changes(app)),
    ]


def insert_user_activity(app: AppConfig) -> str:
    """Return the statement that writes the user rows."""
    features = app.features
    longest_ms = f"CAST({features.half_lives_s[-1] * 1000.0!r} AS DOUBLE)"
    history = f"NEWEST_EVENTS({features.history_length}, `event_time_ms`, `event_id`, `item_id`, `action`, `outcome`)"
    affinity = (
        f"CATEGORY_SUMS({longest_ms}, {features.categories_per_user}, `event_time_ms`, `outcome`, `sign`, `categories`)"
    )
    declared = declared_row(features.declared, "user", _SIGN, _ANEW)
    # In the order of the table: with a projection behind the aggregation every row would be copied once more.
    aggregates = listed(
        f"{decayed_sums(features.half_lives_s, _AMOUNTS)} AS `counters`",
        f"{history} FILTER (WHERE {_ANEW}) AS `history`",
        f"{affinity} FILTER (WHERE `categories` IS NOT NULL) AS `affinity`",
        declared and f"{declared} AS `features`",
        "MAX(`event_time_ms`) AS `event_time_ms`",
    )
    return f"""INSERT INTO {VIEW}_rows
SELECT `user_id`, {aggregates}
FROM user_changes
GROUP BY `user_id`"""


def _categorized_input() -> str:
    return f"""SELECT `item_id`, `event_id`, `user_id`, `action`, `event_time_ms`, `value`, `outcome`, `record_time_ms`
FROM {EVENTS}"""


def _item_categories() -> str:
    # Deletions are passed over: a deleted item's past events still say what its users liked.
    kept = f"ARRAY_SLICE(ARRAY_DISTINCT(`categories`), 1, {_MAX_CATEGORIES_PER_ITEM})"
    return f"""SELECT `item_id`, {kept} AS `categories`, {milliseconds("`record_time`")} AS `record_time_ms`
FROM item_records
WHERE {is_id("`item_id`")}"""


def _user_changes(app: AppConfig) -> str:
    columns = "`item_id`, `event_id`, `user_id`, `action`, `event_time_ms`, `value`, `outcome`, `categories`, `sign`"
    return f"""SELECT {columns}
FROM CATEGORIZE_EVENTS(
  events => TABLE events_to_categorize PARTITION BY `item_id`,
  items => TABLE item_categories PARTITION BY `item_id`,
  keep_ms => CAST({event_window_ms(app)} AS BIGINT),
  uid => 'categorize-events'
)"""
