"""Feedback that the join cannot use goes to the dead-letter topic: `unknown_request` and `after_horizon`.

    feedback ─▶ when was its list served? ─┬─ too long ago ───────────────────────────────▶ after_horizon
                 ▲                         ├─ in time: the join has it
                 │                         └─ unknown yet ─▶ one window later, again? ─┬─▶ unknown_request
               served lists ──────────────────────────────────▲                       └─ known: as above

"When" is a running MAX over one small row per list, so only feedback that came before its list has to wait. Too long
ago is decided by the event's broker time, which a replay does not change; the state lives twice as long.
"""

from __future__ import annotations

from features.label_config import Labels
from streams.delays import delayed
from streams.events import ORIGIN
from streams.sql_text import View

_KEPT = f"`event_id`, `record_time_ms`, {ORIGIN}"
_TYPES = {
    "event_id": "STRING",
    "record_time_ms": "BIGINT",
    "topic": "STRING",
    "partition": "INT",
    "offset": "BIGINT",
    "raw": "BYTES",
}


def late_feedback_views(labels: Labels) -> list[View]:
    """Return the views from `feedback` and `served_lists` to `late_feedback`."""
    return [
        View("feedback_at_once", _with_served_time("feedback")),
        View("feedback_to_wait", _waiting()),
        View("feedback_waited", f"SELECT `request_id`, {_KEPT}\nFROM {_delayed_feedback(labels)}"),
        View("feedback_again", _with_served_time("feedback_waited")),
        View("late_feedback", _late(labels)),
    ]


def insert_late_feedback() -> str:
    """Return the statement that writes the dead letters."""
    columns = "`raw`, `topic`, `partition`, `offset`, `reason`, `record_time_ms`"
    return f"INSERT INTO dead_letters\nSELECT {columns}\nFROM late_feedback"


def is_in_time(record_time: str, served_time: str, labels: Labels) -> str:
    """Return the SQL condition for feedback within the correction horizon."""
    return f"{record_time} - {served_time} <= {labels.horizon_ms}"


def _with_served_time(feedback: str) -> str:
    nothing = ", ".join(f"CAST(NULL AS {sql_type}) AS `{name}`" for name, sql_type in _TYPES.items())
    return f"""SELECT * FROM (
  SELECT `request_id`, {_KEPT}, MAX(`list_time_ms`) OVER (
    PARTITION BY `request_id` ORDER BY `seen_time` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS `served_time_ms`
  FROM (
    SELECT `request_id`, {nothing}, `served_time_ms` AS `list_time_ms`, PROCTIME() AS `seen_time` FROM served_lists
    UNION ALL
    SELECT `request_id`, {_KEPT}, CAST(NULL AS BIGINT) AS `list_time_ms`, PROCTIME() AS `seen_time` FROM {feedback}
  )
)
WHERE `event_id` IS NOT NULL"""


def _waiting() -> str:
    return f"""SELECT `request_id`, {_KEPT}, PROCTIME() AS `wait_time`
FROM feedback_at_once
WHERE `served_time_ms` IS NULL"""


def _delayed_feedback(labels: Labels) -> str:
    return delayed("feedback_to_wait", "event_id", "wait_time", labels.window_s)


def _late(labels: Labels) -> str:
    too_late = f"NOT ({is_in_time('`record_time_ms`', '`served_time_ms`', labels)})"
    return f"""SELECT {_KEPT}, 'after_horizon' AS `reason`
FROM feedback_at_once
WHERE {too_late}
UNION ALL
SELECT {_KEPT}, CASE WHEN `served_time_ms` IS NULL THEN 'unknown_request' ELSE 'after_horizon' END AS `reason`
FROM feedback_again
WHERE `served_time_ms` IS NULL OR {too_late}"""
