"""Served lists and events become training samples (protos/samples.proto), without timers and without exploding lists.

    served, learn = true                 -> impression, at once
    served JOIN feedback ON request_id   -> correction: the labelled item first, the whole list behind it
                                         -> organic, where the list does not tell: the item was not on it, it was
                                            another user's, or its surface does not learn
    event without a request_id           -> organic, at once

Either side of the join may come first. An event whose served record never comes makes no sample (the trainer never
saw that list); it still counts in every feature. Feedback later than `streams.label_window_h` meets no list either.
"""

from __future__ import annotations

from streams.events import EVENTS, is_id, milliseconds
from streams.kafka_tables import SAMPLE_ITEM_TYPE
from streams.sql_text import View

_NO_ROW = "CAST(NULL AS ARRAY<DOUBLE>)"
_NO_LABELS = "CAST(NULL AS MAP<STRING, DOUBLE>)"
_LABELS = f"""CASE `outcome`
    WHEN 1 THEN MAP[`action`, CAST(1 AS DOUBLE)]
    WHEN -1 THEN MAP[`action`, CAST(0 AS DOUBLE)]
    ELSE {_NO_LABELS} END"""
_EVENT_ITEMS = f"ARRAY[CAST(ROW(`item_id`, 0, CAST(1 AS DOUBLE), {_NO_ROW}, {_LABELS}) AS {SAMPLE_ITEM_TYPE})]"

# Keys and values of a JSON object come in one order; [0] takes the context out of its wrapper (see events.py).
_CONTEXT_KEYS = "JSON_QUERY(JSON_QUERY(`context_json`, '$[0].keys()'), '$' RETURNING ARRAY<STRING>)"
_CONTEXT_VALUES = "JSON_QUERY(`context_json`, '$[0].*' RETURNING ARRAY<STRING>)"
_EVENT_CONTEXT = f"CASE WHEN `context_json` IS NOT NULL THEN MAP_FROM_ARRAYS({_CONTEXT_KEYS}, {_CONTEXT_VALUES}) END"

_EVENT_COLUMNS = (
    "`event_id`, `user_id`, `item_id`, `action`, `value`, `outcome`, `event_time_ms`, `record_time_ms`, `context_json`"
)


def sample_views() -> list[View]:
    """Return the views from served records and events to `all_samples`, in the order of their definition."""
    return [
        View("served_lists", _served_lists()),
        View("feedback_matches", _feedback_matches()),
        View("joined_feedback", _joined_feedback()),
        View("all_samples", "\nUNION ALL\n".join([_impressions(), _feedback_samples(), _organic_samples()])),
    ]


def insert_samples() -> str:
    """Return the statement that writes all samples."""
    return "INSERT INTO samples\nSELECT * FROM all_samples"


def _served_lists() -> str:
    # Of a surface that does not learn only the fact is kept, so that its feedback can be told from feedback to nothing.
    return f"""SELECT `request_id`, `user_id`, `learn` IS TRUE AS `learns`, `served_time_ms`, `feature_schema_hash`,
  CASE WHEN `learn` IS TRUE THEN `user_row` END AS `user_row`,
  CASE WHEN `learn` IS TRUE THEN `context` END AS `context`,
  CASE WHEN `learn` IS TRUE THEN `items` END AS `items`,
  {milliseconds("`record_time`")} AS `record_time_ms`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `request_id` ORDER BY `proctime` ASC) AS `copy`
  FROM served_records
  WHERE {is_id("`request_id`")} AND {is_id("`user_id`")} AND `served_time_ms` > 0 AND CARDINALITY(`items`) > 0
)
WHERE `copy` = 1"""


def _feedback_matches() -> str:
    # The event's own item stands behind the list as an entry with labels, which no served item has: it is found last,
    # so of the entries that match the first is the served one where there is one.
    own = f"CAST(ROW(`e`.`item_id`, 0, CAST(1 AS DOUBLE), {_NO_ROW}, MAP['', CAST(0 AS DOUBLE)]) AS {SAMPLE_ITEM_TYPE})"
    event = ", ".join(f"`e`.{column}" for column in _EVENT_COLUMNS.split(", "))
    return f"""SELECT {event}, `s`.`request_id`, `s`.`served_time_ms`, `s`.`feature_schema_hash`, `s`.`user_row`,
  `s`.`context`, `s`.`items`, `m`.`position` AS `found_position`, `m`.`propensity` AS `found_propensity`,
  `m`.`row` AS `found_row`, `m`.`labels` IS NULL AS `is_on_list`, PROCTIME() AS `match_time`
FROM (SELECT {_EVENT_COLUMNS}, `request_id` FROM {EVENTS} WHERE `request_id` IS NOT NULL) AS `e`
JOIN served_lists AS `s` ON `e`.`request_id` = `s`.`request_id`
CROSS JOIN UNNEST(
  CASE WHEN `s`.`learns` AND `s`.`user_id` = `e`.`user_id` THEN ARRAY_CONCAT(`s`.`items`, ARRAY[{own}])
    ELSE ARRAY[{own}] END
) AS `m` (`item_id`, `position`, `propensity`, `row`, `labels`)
WHERE `m`.`item_id` = `e`.`item_id`"""


def _joined_feedback() -> str:
    return """SELECT *
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `event_id` ORDER BY `match_time` ASC) AS `entry`
  FROM feedback_matches
)
WHERE `entry` = 1"""


def _impressions() -> str:
    return """SELECT `request_id` AS `sample_id`, 'impression' AS `kind`, `request_id`, `user_id`,
  `feature_schema_hash`, `user_row`, `context`, `items`, CAST(NULL AS STRING) AS `event_id`,
  CAST(NULL AS STRING) AS `action`, CAST(NULL AS DOUBLE) AS `value`, 0 AS `outcome`,
  `served_time_ms` AS `event_time_ms`, `served_time_ms`, `record_time_ms` AS `broker_time_ms`
FROM served_lists
WHERE `learns`"""


def _feedback_samples() -> str:
    found = f"ROW(`item_id`, `found_position`, `found_propensity`, `found_row`, {_LABELS})"
    correction = f"ARRAY_CONCAT(ARRAY[CAST({found} AS {SAMPLE_ITEM_TYPE})], `items`)"
    return f"""SELECT `event_id` AS `sample_id`,
  CASE WHEN `is_on_list` THEN 'correction' ELSE 'organic' END AS `kind`,
  CASE WHEN `is_on_list` THEN `request_id` ELSE '' END AS `request_id`, `user_id`,
  CASE WHEN `is_on_list` THEN `feature_schema_hash` ELSE '' END AS `feature_schema_hash`,
  CASE WHEN `is_on_list` THEN `user_row` END AS `user_row`,
  CASE WHEN `is_on_list` THEN `context` ELSE {_EVENT_CONTEXT} END AS `context`,
  CASE WHEN `is_on_list` THEN {correction} ELSE {_EVENT_ITEMS} END AS `items`,
  `event_id`, `action`, `value`, `outcome`, `event_time_ms`,
  CASE WHEN `is_on_list` THEN `served_time_ms` ELSE CAST(0 AS BIGINT) END AS `served_time_ms`,
  `record_time_ms` AS `broker_time_ms`
FROM joined_feedback"""


def _organic_samples() -> str:
    return f"""SELECT `event_id` AS `sample_id`, 'organic' AS `kind`, '' AS `request_id`, `user_id`,
  '' AS `feature_schema_hash`, {_NO_ROW} AS `user_row`, {_EVENT_CONTEXT} AS `context`, {_EVENT_ITEMS} AS `items`,
  `event_id`, `action`, `value`, `outcome`, `event_time_ms`, CAST(0 AS BIGINT) AS `served_time_ms`,
  `record_time_ms` AS `broker_time_ms`
FROM {EVENTS}
WHERE `request_id` IS NULL"""
