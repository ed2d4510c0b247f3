"""Raw records become checked events: one parse each, and one reason code for each that cannot be used.

`CHECK_EVENT` (java/CheckEvent.java) parses; what depends on the app is checked here. Reasons, first match wins:
`too_large`, `not_json` (not UTF-8, not one JSON object, no value), `too_deep`, then field by field `missing_<field>`
(null counts as missing) and `bad_<field>`, then `unknown_action`, then `too_old`, then `bad_token` where request tokens
are on. Both jobs build the same views, so a record is an event for both or for none.
"""

from __future__ import annotations

from features.config import ActionConfig, AppConfig, parse_condition
from streams.kafka_tables import BACKFILL_TOPIC
from streams.retention import event_window_ms
from streams.sql_text import View, literal
from streams.token_check import TokenCheck

RAW_TABLES = ("raw_events", "raw_backfill")
"""Tables that hold the records of the two events topics."""

EVENTS = "events"
"""The view of deduplicated events: event_id, user_id, item_id, action, event_time_ms, value, request_id, outcome,
record_time_ms. Of history `request_id` is null."""

ORIGIN = "`topic`, `partition`, `offset`, `raw`"
"""Columns of `EVENTS`, with `context_json`, where it keeps the origin: what a dead letter of feedback needs. Other
events have no `raw`."""

CHECKED = "checked_records"
"""The view of all records with their `reason`, null for those that can be used."""

_MAX_ID_BYTES = 128
_RECORD = "`raw`, `topic`, `partition`, `offset`, `record_time_ms`"
_ORIGIN = "`topic`, `partition`, `offset`, CASE WHEN `request_id` IS NOT NULL THEN `raw` END AS `raw`"
_NO_CONTEXT = "CAST(NULL AS STRING) AS `context_json`"
_NO_ORIGIN = (
    "CAST(NULL AS STRING) AS `topic`, CAST(NULL AS INT) AS `partition`, CAST(NULL AS BIGINT) AS `offset`, "
    "CAST(NULL AS BYTES) AS `raw`"
)
_FIELDS = "`event_id`, `user_id`, `item_id`, `action`, `event_time_ms`, `value`, `request_id`, `context_json`"
_EVENT = (
    "`event_id`, `user_id`, `item_id`, `action`, `event_time_ms`, `value`, `request_id`, `outcome`, `record_time_ms`"
)


def event_views(
    app: AppConfig, with_origin: bool = False, tokens: TokenCheck | None = None, excluded: str = ""
) -> list[View]:
    """Return the views from `RAW_TABLES` to `CHECKED` and `EVENTS`, in the order of their definition.

    Args:
        app: actions, horizon, clock skew.
        with_origin: add `context_json` and the columns `ORIGIN` to `EVENTS`; they cost where nobody reads them.
        tokens: how feedback must prove that its item was shown; None where it need not.
        excluded: SQL condition of good records that are no events all the same, see `streams.exclusions`.
    """
    return [
        View("raw_records", _raw_records()),
        View(CHECKED, _checked_records(app, tokens)),
        View("valid_events", _valid_events(app, with_origin, excluded)),
        View(EVENTS, _deduplicated(app, with_origin)),
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


def horizon_ms(app: AppConfig) -> int:
    """Return how late an event may come, by the broker's times."""
    return int(app.features.horizon_h * 3_600_000)


def outcome_case(app: AppConfig) -> str:
    """Return the SQL for an event's outcome: 1 positive, 0 neutral, -1 negative; as `ActionConfig.outcome_of`."""
    branches = "\n".join(_action_branches(name, action) for name, action in sorted(app.actions.items()))
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
    time = milliseconds("`record_time`")
    branches = (
        f"SELECT `raw`, `topic`, `partition`, `offset`, {time} AS `record_time_ms`\nFROM {table}"
        for table in RAW_TABLES
    )
    return "\nUNION ALL\n".join(branches)


def _checked_records(app: AppConfig, tokens: TokenCheck | None) -> str:
    known = ", ".join(literal(name) for name in sorted(app.actions))
    return f"""SELECT {_RECORD}, {_FIELDS}, `bucket`,
  CASE WHEN `fault` IS NOT NULL THEN `fault`
    WHEN `action` NOT IN ({known}) THEN 'unknown_action'
    WHEN `topic` <> {literal(BACKFILL_TOPIC)} AND `event_time_ms` < `record_time_ms` - {horizon_ms(app)} THEN 'too_old'
    {_token_branch(tokens)}
  END AS `reason`
FROM raw_records
CROSS JOIN LATERAL TABLE(CHECK_EVENT(`raw`)) AS c (`fault`, {_FIELDS}, `request_token`, `bucket`)"""


def _token_branch(tokens: TokenCheck | None) -> str:
    """Return the branch for feedback without proof; history is no feedback to a list, whatever it names."""
    if tokens is None:
        return ""
    topic = literal(BACKFILL_TOPIC)
    return f"""WHEN `topic` <> {topic} AND `request_id` IS NOT NULL AND NOT {tokens.condition()}
      THEN 'bad_token'"""


def _valid_events(app: AppConfig, with_origin: bool, excluded: str) -> str:
    skew_ms = _skew_ms(app)
    # Every column that FIRST_EVENTS knows (java/FirstEvents.java), in its order.
    # History is no feedback to a list, whatever it names.
    request = f"CASE WHEN `topic` <> {literal(BACKFILL_TOPIC)} THEN `request_id` END AS `request_id`"
    context, origin = ("`context_json`", _ORIGIN) if with_origin else (_NO_CONTEXT, _NO_ORIGIN)
    return f"""SELECT `bucket`, `event_id`, `user_id`, `item_id`, `action`, `value`, {request},
  {context},
  CASE WHEN `event_time_ms` > `record_time_ms` + {skew_ms} THEN `record_time_ms` + {skew_ms}
    ELSE `event_time_ms` END AS `event_time_ms`,
  {outcome_case(app)} AS `outcome`, `record_time_ms`,
  {origin}
FROM {CHECKED}
WHERE `reason` IS NULL{f" AND NOT ({excluded})" if excluded else ""}"""


def _deduplicated(app: AppConfig, with_origin: bool) -> str:
    return f"""SELECT {_EVENT}{f", `context_json`, {ORIGIN}" if with_origin else ""}
FROM FIRST_EVENTS(
  events => TABLE valid_events PARTITION BY `bucket`,
  keep_ms => CAST({event_window_ms(app)} AS BIGINT),
  ahead_ms => CAST({_skew_ms(app)} AS BIGINT),
  uid => 'first-events'
)"""


def _skew_ms(app: AppConfig) -> int:
    return int(app.features.clock_skew_s * 1000)
