"""Served lists and events become training samples (protos/samples.proto), without watermarks and exploding no list.

    served, learn = true                 -> impression: at once, or one window later (`labels.policy`)
    served JOIN feedback ON request_id   -> correction: the labelled item first, the whole list behind it
                                         -> organic, where the list does not tell: the item was not on it, it was
                                            another user's, or its surface does not learn
    event without a request_id           -> organic, at once; so is every event of the backfill topic

Either side of the join may come first. What has no list, or comes after the correction horizon, makes no sample
(late_feedback.py); it still counts in every feature. docs/late-click.md tells every case.
"""

from __future__ import annotations

from features.label_config import Labels
from streams.delays import delayed
from streams.events import EVENTS, ORIGIN, is_id, milliseconds
from streams.kafka_tables import SAMPLE_ITEM_TYPE
from streams.label_sql import labels_case
from streams.late_feedback import is_in_time
from streams.sql_text import View, literal

_NO_ROW = "CAST(NULL AS ARRAY<DOUBLE>)"

# Keys and values of a JSON object come in one order; [0] takes the context out of its wrapper (see events.py).
_CONTEXT_KEYS = "JSON_QUERY(JSON_QUERY(`context_json`, '$[0].keys()'), '$' RETURNING ARRAY<STRING>)"
_CONTEXT_VALUES = "JSON_QUERY(`context_json`, '$[0].*' RETURNING ARRAY<STRING>)"
_EVENT_CONTEXT = f"CASE WHEN `context_json` IS NOT NULL THEN MAP_FROM_ARRAYS({_CONTEXT_KEYS}, {_CONTEXT_VALUES}) END"

_EVENT_TYPES = {
    "event_id": "STRING",
    "user_id": "STRING",
    "item_id": "STRING",
    "action": "STRING",
    "value": "DOUBLE",
    "outcome": "INT",
    "event_time_ms": "BIGINT",
    "record_time_ms": "BIGINT",
    "context_json": "STRING",
}
_EVENT_COLUMNS = ", ".join(f"`{name}`" for name in _EVENT_TYPES)
_IS_FEEDBACK = "`request_id` IS NOT NULL"


def feedback_views() -> list[View]:
    """Return the views of what meets in the join: `served_lists` and `feedback`."""
    return [
        View("served_lists", _served_lists()),
        View("feedback", f"SELECT {_EVENT_COLUMNS}, `request_id`, {ORIGIN}\nFROM {EVENTS}\nWHERE {_IS_FEEDBACK}"),
    ]


def sample_views(labels: Labels) -> list[View]:
    """Return the views from `feedback_views` and events to the three kinds of samples, in the order of definition."""
    waits = labels.policy == "wait"
    return [
        *([View("lists_to_wait", _lists_to_wait()), View("lists_waited", _lists_waited(labels))] if waits else []),
        View("list_matches", _list_matches(waits)),
        View("feedback_matches", _feedback_matches(labels)),
        View("joined_feedback", _joined_feedback()),
        View("impressions", _impressions(labels)),
        View("feedback_samples", _feedback_samples(labels)),
        View("organic_samples", _organic_samples(labels)),
    ]


def insert_samples() -> list[str]:
    """Return the statements that write the samples.

    One each, not a union: a writer behind its own chain of operators saves the copy of every list from task to task.
    """
    return [
        f"INSERT INTO samples\nSELECT * FROM {view}" for view in ("impressions", "feedback_samples", "organic_samples")
    ]


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


def _lists_to_wait() -> str:
    return "SELECT `request_id`, PROCTIME() AS `wait_time`\nFROM served_lists\nWHERE `learns`"


def _lists_waited(labels: Labels) -> str:
    nothing = ", ".join(f"CAST(NULL AS {sql_type}) AS `{name}`" for name, sql_type in _EVENT_TYPES.items())
    source = delayed("lists_to_wait", "request_id", "wait_time", labels.window_s)
    return f"SELECT {nothing}, `request_id`\nFROM {source}"


def _list_matches(waits: bool) -> str:
    # Only the id of a list waits. It meets the list in the join, which keeps it anyway, as an event of no event_id.
    left = f"SELECT {_EVENT_COLUMNS}, `request_id` FROM feedback"
    left += f"\n  UNION ALL\n  SELECT {_EVENT_COLUMNS}, `request_id` FROM lists_waited" if waits else ""
    event = ", ".join(f"`e`.`{name}`" for name in _EVENT_TYPES)
    return f"""SELECT {event}, `s`.`request_id`, `s`.`user_id` AS `list_user_id`, `s`.`learns`, `s`.`served_time_ms`,
  `s`.`feature_schema_hash`, `s`.`user_row`, `s`.`context`, `s`.`items`, `s`.`record_time_ms` AS `list_record_time_ms`
FROM ({left}) AS `e`
JOIN served_lists AS `s` ON `e`.`request_id` = `s`.`request_id`"""


def _feedback_matches(labels: Labels) -> str:
    # The event's own item stands behind the list as an entry with labels, which no served item has: it is found last,
    # so of the entries that match the first is the served one where there is one.
    own = f"CAST(ROW(`f`.`item_id`, 0, CAST(1 AS DOUBLE), {_NO_ROW}, MAP['', CAST(0 AS DOUBLE)]) AS {SAMPLE_ITEM_TYPE})"
    event = ", ".join(f"`f`.`{name}`" for name in _EVENT_TYPES)
    return f"""SELECT {event}, `f`.`request_id`, `f`.`served_time_ms`, `f`.`feature_schema_hash`, `f`.`user_row`,
  `f`.`context`, `f`.`items`, `m`.`position` AS `found_position`, `m`.`propensity` AS `found_propensity`,
  `m`.`row` AS `found_row`, `m`.`labels` IS NULL AS `is_on_list`, PROCTIME() AS `match_time`
FROM list_matches AS `f`
CROSS JOIN UNNEST(
  CASE WHEN `f`.`learns` AND `f`.`list_user_id` = `f`.`user_id` THEN ARRAY_CONCAT(`f`.`items`, ARRAY[{own}])
    ELSE ARRAY[{own}] END
) AS `m` (`item_id`, `position`, `propensity`, `row`, `labels`)
WHERE `m`.`item_id` = `f`.`item_id` AND {is_in_time("`f`.`record_time_ms`", "`f`.`served_time_ms`", labels)}"""


def _joined_feedback() -> str:
    return """SELECT *
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `event_id` ORDER BY `match_time` ASC) AS `entry`
  FROM feedback_matches
)
WHERE `entry` = 1"""


def _impressions(labels: Labels) -> str:
    waits = labels.policy == "wait"
    user_id, time = ("list_user_id", "list_record_time_ms") if waits else ("user_id", "record_time_ms")
    source = "list_matches\nWHERE `event_id` IS NULL" if waits else "served_lists\nWHERE `learns`"
    return f"""SELECT `request_id` AS `sample_id`, 'impression' AS `kind`, `request_id`, `{user_id}` AS `user_id`,
  `feature_schema_hash`, `user_row`, `context`, `items`, CAST(NULL AS STRING) AS `event_id`,
  CAST(NULL AS STRING) AS `action`, CAST(NULL AS DOUBLE) AS `value`, 0 AS `outcome`,
  `served_time_ms` AS `event_time_ms`, `served_time_ms`, `{time}` AS `broker_time_ms`,
  {literal(labels.policy)} AS `label_policy`
FROM {source}"""


def _feedback_samples(labels: Labels) -> str:
    known = labels_case(labels)
    found = f"ROW(`item_id`, `found_position`, `found_propensity`, `found_row`, {known})"
    correction = f"ARRAY_CONCAT(ARRAY[CAST({found} AS {SAMPLE_ITEM_TYPE})], `items`)"
    return f"""SELECT `event_id` AS `sample_id`,
  CASE WHEN `is_on_list` THEN 'correction' ELSE 'organic' END AS `kind`,
  CASE WHEN `is_on_list` THEN `request_id` ELSE '' END AS `request_id`, `user_id`,
  CASE WHEN `is_on_list` THEN `feature_schema_hash` ELSE '' END AS `feature_schema_hash`,
  CASE WHEN `is_on_list` THEN `user_row` END AS `user_row`,
  CASE WHEN `is_on_list` THEN `context` ELSE {_EVENT_CONTEXT} END AS `context`,
  CASE WHEN `is_on_list` THEN {correction} ELSE {_event_items(labels)} END AS `items`,
  `event_id`, `action`, `value`, `outcome`, `event_time_ms`,
  CASE WHEN `is_on_list` THEN `served_time_ms` ELSE CAST(0 AS BIGINT) END AS `served_time_ms`,
  `record_time_ms` AS `broker_time_ms`, CASE WHEN `is_on_list` THEN {literal(labels.policy)} END AS `label_policy`
FROM joined_feedback"""


def _organic_samples(labels: Labels) -> str:
    return f"""SELECT `event_id` AS `sample_id`, 'organic' AS `kind`, '' AS `request_id`, `user_id`,
  '' AS `feature_schema_hash`, {_NO_ROW} AS `user_row`, {_EVENT_CONTEXT} AS `context`,
  {_event_items(labels)} AS `items`, `event_id`, `action`, `value`, `outcome`, `event_time_ms`,
  CAST(0 AS BIGINT) AS `served_time_ms`, `record_time_ms` AS `broker_time_ms`, CAST(NULL AS STRING) AS `label_policy`
FROM {EVENTS}
WHERE NOT ({_IS_FEEDBACK})"""


def _event_items(labels: Labels) -> str:
    entry = f"ROW(`item_id`, 0, CAST(1 AS DOUBLE), {_NO_ROW}, {labels_case(labels)})"
    return f"ARRAY[CAST({entry} AS {SAMPLE_ITEM_TYPE})]"
