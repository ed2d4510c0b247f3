"""User history: the newest N events by (event_time_ms, event_id), whatever the order of arrival."""

from __future__ import annotations

from features.config import AppConfig
from streams.events import EVENTS

COLUMNS = (
    "`entries` ARRAY<ROW<`item_id` STRING, `action` STRING, `event_time_ms` BIGINT, `event_id` STRING, `outcome` INT>>"
)
"""protos/features.proto HistoryRow between `entity_id` and `event_time_ms`."""


def insert_histories(app: AppConfig) -> str:
    """Return the statement that writes every user's newest events, in no order within the row."""
    entry = "ROW(`item_id`, `action`, `event_time_ms`, `event_id`, `outcome`)"
    row_type = "ROW<`item_id` STRING, `action` STRING, `event_time_ms` BIGINT, `event_id` STRING, `outcome` INT>"
    return f"""INSERT INTO user_history_rows
SELECT `user_id`, ARRAY_AGG(`entry`), MAX(`event_time_ms`)
FROM (
  SELECT `user_id`, `event_time_ms`, CAST({entry} AS {row_type}) AS `entry`
  FROM (
    SELECT `user_id`, `item_id`, `action`, `event_time_ms`, `event_id`, `outcome`,
      ROW_NUMBER() OVER (PARTITION BY `user_id` ORDER BY `event_time_ms` DESC, `event_id` DESC) AS `place`
    FROM {EVENTS}
  )
  WHERE `place` <= {app.features.history_length}
)
GROUP BY `user_id`"""
