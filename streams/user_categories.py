"""User x category affinity at the longest half-life: events joined with the categories of their items.

The join holds both sides, so an event that comes before its item counts once the item comes, and an item whose
categories change moves the events of the last two horizons over. Items never expire.
"""

from __future__ import annotations

from features.config import AppConfig
from streams.counters import half_lives
from streams.events import EVENTS, is_id
from streams.sql_text import View

COLUMNS = (
    "`categories` ARRAY<ROW<`category` STRING, `epoch` BIGINT, `events` DOUBLE, `positives` DOUBLE, "
    "`negatives` DOUBLE>>"
)
"""protos/features.proto CategoryRow between `entity_id` and `event_time_ms`."""

_ENTRY_TYPE = "ROW<`category` STRING, `epoch` BIGINT, `events` DOUBLE, `positives` DOUBLE, `negatives` DOUBLE>"
_MAX_CATEGORIES_PER_ITEM = 32


def category_views(app: AppConfig) -> list[View]:
    """Return the views from item records to `user_category_counts`, in the order of their definition."""
    return [
        View("item_categories", _item_categories()),
        View("category_events", _category_events()),
        View("category_changes", _category_changes()),
        View("user_category_counts", _counts(app)),
    ]


def insert_user_categories(app: AppConfig) -> str:
    """Return the statement that writes every user's strongest categories: newest epoch, then most events, first."""
    entry = "ROW(`category`, `epoch`, `events`, `positives`, `negatives`)"
    return f"""INSERT INTO user_categories_rows
SELECT `user_id`, ARRAY_AGG(CAST({entry} AS {_ENTRY_TYPE})), MAX(`event_time_ms`)
FROM (
  SELECT *, ROW_NUMBER() OVER (
    PARTITION BY `user_id` ORDER BY `epoch` DESC, `events` DESC, `category` ASC) AS `place`
  FROM user_category_counts
)
WHERE `place` <= {app.features.categories_per_user}
GROUP BY `user_id`"""


def _item_categories() -> str:
    # Deletions are passed over: a deleted item's past events still say what its users liked.
    kept = f"ARRAY_SLICE(ARRAY_DISTINCT(`categories`), 1, {_MAX_CATEGORIES_PER_ITEM})"
    return f"""SELECT `item_id`, {kept} AS `categories`
FROM (
  SELECT `item_id`, `categories`,
    ROW_NUMBER() OVER (PARTITION BY `item_id` ORDER BY `proctime` DESC) AS `age`
  FROM item_records
  WHERE {is_id("`item_id`")}
)
WHERE `age` = 1"""


def _category_events() -> str:
    return f"""SELECT `e`.`event_id`, `e`.`user_id`, `e`.`event_time_ms`, `e`.`outcome`, `c`.`category`
FROM (SELECT `event_id`, `user_id`, `item_id`, `event_time_ms`, `outcome` FROM {EVENTS}) AS `e`
JOIN item_categories AS `i` ON `e`.`item_id` = `i`.`item_id`
CROSS JOIN UNNEST(`i`.`categories`) AS `c` (`category`)
WHERE {is_id("`c`.`category`")}"""


def _category_changes() -> str:
    # As signed inserts: a MAX that must be able to take back would keep every event time.
    return "SELECT * FROM TO_CHANGELOG(input => TABLE category_events)"


def _counts(app: AppConfig) -> str:
    longest = half_lives(app)[-1]
    sign = "CASE WHEN `op` IN ('DELETE', 'UPDATE_BEFORE') THEN CAST(-1 AS DOUBLE) ELSE CAST(1 AS DOUBLE) END"
    return f"""SELECT `user_id`, `category`, `epoch`, MAX(`event_time_ms`) AS `event_time_ms`,
  SUM(`weight`) AS `events`,
  SUM(CASE WHEN `outcome` = 1 THEN `weight` ELSE CAST(0 AS DOUBLE) END) AS `positives`,
  SUM(CASE WHEN `outcome` = -1 THEN `weight` ELSE CAST(0 AS DOUBLE) END) AS `negatives`
FROM (
  SELECT `user_id`, `category`, `event_time_ms`, `outcome`, {longest.epoch()} AS `epoch`,
    {longest.weight()} * {sign} AS `weight`
  FROM category_changes
)
GROUP BY `user_id`, `category`, `epoch`"""
