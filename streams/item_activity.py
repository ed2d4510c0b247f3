"""What events say of an item, and of all items together: one whole row whenever an event came."""

from __future__ import annotations

from features.config import AppConfig
from features.declared_features import of_entity
from streams.counters import event_counters
from streams.declared_sql import declared_columns, declared_row
from streams.events import EVENTS
from streams.sql_text import listed

VIEW = "item_activity"
GLOBAL_VIEW = "global_activity"
GLOBAL_ID = "all"
"""Entity id of the one row of `global_activity`."""


def item_activity_columns(app: AppConfig) -> str:
    """Return protos/features.proto ItemActivity between `entity_id` and `event_time_ms`."""
    return listed("`counters` ARRAY<DOUBLE>", declared_columns(app.features.declared, "item"))


def insert_item_activity(app: AppConfig) -> str:
    """Return the statement that writes the item rows."""
    columns = listed("`item_id`", event_counters(app), declared_row(app.features.declared, "item"))
    return f"""INSERT INTO {VIEW}_rows
SELECT {columns},
  MAX(`event_time_ms`)
FROM {EVENTS}
GROUP BY `item_id`"""


def has_global_features(app: AppConfig) -> bool:
    """Say whether a feature of all events together is declared: without one nobody needs the row."""
    return bool(of_entity(app.features.declared, "global"))


def insert_global_activity(app: AppConfig) -> str:
    """Return the statement that writes the one row of all events."""
    # Not a constant: the planner would drop it from the grouping, and then find no key for the sink.
    scope = f"CASE WHEN `event_id` IS NULL THEN '' ELSE '{GLOBAL_ID}' END"
    return f"""INSERT INTO {GLOBAL_VIEW}_rows
SELECT `scope`, {declared_row(app.features.declared, "global")}, MAX(`event_time_ms`)
FROM (SELECT *, {scope} AS `scope` FROM {EVENTS})
GROUP BY `scope`"""
