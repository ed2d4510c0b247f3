"""Raw records become checked events: one JSON parse each, and one reason code for each that cannot be used.

Reasons, first match wins: `too_large`, `not_json` (not UTF-8, not one JSON object, no value), then field by field
`missing_<field>` (null counts as missing) and `bad_<field>`, then `unknown_action`, then `too_old`. Both jobs build
the same views, so a record is an event for both or for none.
"""

from __future__ import annotations

from features.config import ActionConfig, AppConfig, parse_condition
from streams.kafka_tables import BACKFILL_TOPIC
from streams.sql_text import View, literal

RAW_TABLES = ("raw_events", "raw_backfill")
"""Tables that hold the records of the two events topics."""

EVENTS = "events"
"""The view of deduplicated events: event_id, user_id, item_id, action, event_time_ms, value, request_id, context_json,
outcome, record_time_ms, proctime."""

CHECKED = "checked_records"
"""The view of all records with their `reason`, null for those that can be used."""

_ID_FIELDS = ("event_id", "user_id", "item_id", "action")
_TEXT_FIELDS = (*_ID_FIELDS, "request_id")
_PARSED_FIELDS = (*_TEXT_FIELDS, "event_time_ms", "value", "context")
_MAX_ID_BYTES = 128
_MAX_TEXT_CHARACTERS = 65_536
_RECORD = "`raw`, `text`, `wrapped`, `topic`, `partition`, `offset`, `record_time_ms`"
_MAX_DOUBLE = "1.7976931348623157E308"


def event_views(app: AppConfig) -> list[View]:
    """Return the views from `RAW_TABLES` to `CHECKED` and `EVENTS`, in the order of their definition."""
    return [
        View("raw_records", _raw_records()),
        View("parsed_records", _parsed_records()),
        View("typed_records", _typed_records()),
        View(CHECKED, _checked_records(app)),
        View("valid_events", _valid_events(app)),
        View(EVENTS, _deduplicated()),
    ]


def is_id(column: str) -> str:
    """Return the SQL condition for an id: 1-128 bytes of UTF-8 without control characters."""
    # HEX counts bytes, but only where characters alone do not decide.
    fits = f"(CHAR_LENGTH({column}) <= {_MAX_ID_BYTES // 4} OR CHAR_LENGTH(HEX({column})) <= {2 * _MAX_ID_BYTES})"
    is_clean = f"NOT REGEXP({column}, '\\p{{Cc}}')"
    return f"({column} <> '' AND CHAR_LENGTH({column}) <= {_MAX_ID_BYTES} AND {fits} AND {is_clean})"


def milliseconds(timestamp: str) -> str:
    """Return the SQL for milliseconds since 1970 of a TIMESTAMP_LTZ(3) column."""
    return f"EXTRACT(EPOCH FROM {timestamp}) * 1000 + EXTRACT(MILLISECOND FROM {timestamp})"


def outcome_case(app: AppConfig) -> str:
    """Return the SQL for an event's outcome: 1 positive, 0 neutral, -1 negative; as `ActionConfig.outcome_of`."""
    branches = "\n".join(_action_branches(name, action) for name, action in app.actions.items())
    return f"CASE\n{branches}\n    ELSE 0 END"


def _action_branches(name: str, action: ActionConfig) -> str:
    lines = []
    for text, outcome in ((action.positive_when, 1), (action.negative_when, -1)):
        if text:
            condition = parse_condition(text)
            operator = "=" if condition.operator == "==" else condition.operator
            bound = f"CAST({condition.bound!r} AS DOUBLE)"
            lines.append(f"    WHEN `action` = {literal(name)} AND `value` {operator} {bound} THEN {outcome}")
    plain = {"positive": 1, "neutral": 0, "negative": -1}[action.outcome]
    lines.append(f"    WHEN `action` = {literal(name)} THEN {plain}")
    return "\n".join(lines)


def _raw_records() -> str:
    # Flink's parser stops where the first value ends and passes what follows. Inside another object that is no JSON.
    text = "DECODE(`raw`, 'UTF-8')"
    wrapped = f"CONCAT('{{\"event\":', {text}, '}}')"
    branches = (
        f"SELECT `raw`, {text} AS `text`, {wrapped} AS `wrapped`, `topic`, `partition`, `offset`, "
        f"{milliseconds('`record_time`')} AS `record_time_ms`\nFROM {table}"
        for table in RAW_TABLES
    )
    return "\nUNION ALL\n".join(branches)


def _parsed_records() -> str:
    # UNNEST of one row holds values fast: without it the planner copies a parse into every place that reads the field.
    # The array wrapper keeps the type visible: '["5"]' is a string, '[5]' a number, NULL is missing or null.
    parses = ",\n  ".join(
        f"JSON_QUERY(`wrapped`, '$.event.{field}' WITH UNCONDITIONAL ARRAY WRAPPER)" for field in _PARSED_FIELDS
    )
    names = ", ".join(f"`{field}_json`" for field in _PARSED_FIELDS)
    return f"""SELECT {_RECORD}, {names}
FROM raw_records
CROSS JOIN UNNEST(ARRAY[ROW(
  {parses}
)]) AS p ({names})"""


def _typed_records() -> str:
    texts = [f"CASE WHEN `{f}_json` LIKE '[\"%' THEN {_unwrapped(f)} END" for f in _TEXT_FIELDS]
    event_time = "CASE WHEN REGEXP(`event_time_ms_json`, '^\\[[0-9]{1,18}\\]$') THEN " + _number(
        "event_time_ms", "BIGINT"
    )
    value = "CASE WHEN REGEXP(`value_json`, '^\\[-?[0-9]') THEN " + _number("value", "DOUBLE")
    names = ", ".join(f"`{field}`" for field in (*_TEXT_FIELDS, "event_time_ms", "value"))
    kept = ", ".join(f"`{field}_json`" for field in _PARSED_FIELDS)
    return f"""SELECT {_RECORD}, {kept}, {names}
FROM parsed_records
CROSS JOIN UNNEST(ARRAY[ROW(
  {("," + chr(10) + "  ").join([*texts, f"{event_time} END", f"{value} END"])}
)]) AS t ({names})"""


def _unwrapped(field: str) -> str:
    json = f"`{field}_json`"
    plain = f"SUBSTRING({json} FROM 3 FOR CHAR_LENGTH({json}) - 4)"
    escaped = f"JSON_UNQUOTE(SUBSTRING({json} FROM 2 FOR CHAR_LENGTH({json}) - 2))"
    return f"CASE WHEN POSITION('\\' IN {json}) = 0 THEN {plain} ELSE {escaped} END"


def _number(field: str, sql_type: str) -> str:
    return f"TRY_CAST(SUBSTRING(`{field}_json` FROM 2 FOR CHAR_LENGTH(`{field}_json`) - 2) AS {sql_type})"


def _checked_records(app: AppConfig) -> str:
    columns = ", ".join(f"`{field}`" for field in (*_TEXT_FIELDS, "event_time_ms", "value"))
    return f"""SELECT {_RECORD}, {columns}, `context_json`, `reason`
FROM typed_records
CROSS JOIN UNNEST(ARRAY[{_reason(app)}]) AS r (`reason`)"""


def _reason(app: AppConfig) -> str:
    is_object = r"REGEXP(`text`, '^\s*\{')"
    # Decoding mends bytes that are not UTF-8.
    is_utf8 = "(POSITION(U&'\\FFFD' IN `text`) = 0 OR ENCODE(`text`, 'UTF-8') = `raw`)"
    # A first field that was found tells that the text parses; only else it is parsed again.
    parses = "(`event_id_json` IS NOT NULL OR `wrapped` IS JSON OBJECT)"
    known = ", ".join(literal(name) for name in app.actions)
    horizon_ms = int(app.features.horizon_h * 3_600_000)
    branches = [
        f"WHEN CHAR_LENGTH(`text`) > {_MAX_TEXT_CHARACTERS} THEN 'too_large'",
        f"WHEN ({is_object} AND {is_utf8} AND {parses}) IS NOT TRUE THEN 'not_json'",
        *(branch for field in _ID_FIELDS for branch in _required(field, is_id(f"`{field}`"))),
        *_required("event_time_ms", "`event_time_ms` > 0"),
        _optional("value", f"`value` BETWEEN -{_MAX_DOUBLE} AND {_MAX_DOUBLE}"),
        # An empty request_id is how protobuf's JSON writes "none".
        _optional("request_id", f"`request_id` = '' OR {is_id('`request_id`')}"),
        _optional("context", "`context_json` LIKE '[{%'"),
        f"WHEN `action` NOT IN ({known}) THEN 'unknown_action'",
        f"WHEN `topic` <> {literal(BACKFILL_TOPIC)} AND `event_time_ms` < `record_time_ms` - {horizon_ms} "
        "THEN 'too_old'",
    ]
    return "CASE\n  " + "\n  ".join(branches) + "\nEND"


def _required(field: str, condition: str) -> tuple[str, str]:
    return f"WHEN `{field}_json` IS NULL THEN 'missing_{field}'", _optional(field, condition)


def _optional(field: str, condition: str) -> str:
    return f"WHEN `{field}_json` IS NOT NULL AND ({condition}) IS NOT TRUE THEN 'bad_{field}'"


def _valid_events(app: AppConfig) -> str:
    skew_ms = int(app.features.clock_skew_s * 1000)
    return f"""SELECT `event_id`, `user_id`, `item_id`, `action`, `value`, `context_json`, `record_time_ms`,
  CASE WHEN `request_id` <> '' THEN `request_id` END AS `request_id`,
  CASE WHEN `event_time_ms` > `record_time_ms` + {skew_ms} THEN `record_time_ms` + {skew_ms}
    ELSE `event_time_ms` END AS `event_time_ms`,
  {outcome_case(app)} AS `outcome`,
  PROCTIME() AS `proctime`
FROM {CHECKED}
WHERE `reason` IS NULL"""


def _deduplicated() -> str:
    columns = "`event_id`, `user_id`, `item_id`, `action`, `event_time_ms`, `value`, `request_id`, `context_json`"
    return f"""SELECT {columns}, `outcome`, `record_time_ms`, `proctime`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `event_id` ORDER BY `proctime` ASC) AS `copy`
  FROM valid_events
)
WHERE `copy` = 1"""
