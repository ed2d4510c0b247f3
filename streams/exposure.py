"""What served lists say: what a user was shown of late, and how often an item was shown and clicked.

    served, learn = true ------------------------> the newest shown items of a user     -> user_exposure
    served, learn = true, one row an item --+----> lists, expected clicks, clicks        -> item_exposure
    positive events JOIN their list --------+

A click counts where its showing does: the item stood on a learning list of the same user, served a horizon before at
most. So the feature job says of clicks what trainer and `evaluate` count from corrections, and whatever else names a
request (a list of a surface that does not learn, another user's, one that never was) adds no click without a showing.
Lists and clicks wait for each other, for twice the horizon, so that their order does not matter.

Expected clicks of a list of n items are 1/n an item; clicks over expected clicks tell an item that is clicked wherever
it stands from one that merely stands where people click. Positions are left out on purpose: a team that knows its
position bias gives it to the model, not to the counters.
"""

from __future__ import annotations

from features.config import AppConfig
from streams.counters import decayed_sums
from streams.events import EVENTS, horizon_ms, is_id
from streams.sql_text import View

USER_VIEW = "user_exposure"
USER_COLUMNS = "`shown_item_ids` ARRAY<STRING>,\n  `shown_times_ms` ARRAY<BIGINT>"
"""protos/features.proto UserExposure between `entity_id` and `event_time_ms`."""

ITEM_VIEW = "item_exposure"
ITEM_COLUMNS = "`exposure` ARRAY<DOUBLE>"
"""protos/features.proto ItemExposure between `entity_id` and `event_time_ms`."""

_AMOUNTS = ("`shown`", "`expected`", "`clicked`")
_ONE, _ZERO = "CAST(1 AS DOUBLE)", "CAST(0 AS DOUBLE)"


def exposure_views(app: AppConfig, excluded: str = "") -> list[View]:
    """Return the views from served records and events to `item_exposures`, in the order of their definition.

    Args:
        app: half-lives, horizon.
        excluded: SQL condition of lists that do not count, see `streams.exclusions`.
    """
    return [
        View("shown_lists", _shown_lists(excluded)),
        View("list_clicks", _list_clicks(app)),
        View("item_exposures", _item_exposures()),
    ]


def insert_user_exposure(app: AppConfig) -> str:
    """Return the statement that writes what users were shown."""
    return f"""INSERT INTO {USER_VIEW}_rows
SELECT `user_id`, `shown`.`item_ids`, `shown`.`times_ms`, `event_time_ms`
FROM (
  SELECT `user_id`, MAX(`served_time_ms`) AS `event_time_ms`,
    NEWEST_SHOWN({app.features.exposure_length}, `served_time_ms`, `request_id`, `items`) AS `shown`
  FROM shown_lists
  GROUP BY `user_id`
)"""


def insert_item_exposure(app: AppConfig) -> str:
    """Return the statement that writes how items fared on lists."""
    return f"""INSERT INTO {ITEM_VIEW}_rows
SELECT `item_id`, {decayed_sums(app.features.half_lives_s, _AMOUNTS)}, MAX(`event_time_ms`)
FROM item_exposures
GROUP BY `item_id`"""


def _shown_lists(excluded: str) -> str:
    return f"""SELECT `request_id`, `user_id`, `served_time_ms`, `items`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `request_id` ORDER BY `proctime` ASC) AS `copy`
  FROM shown_records
  WHERE `learn` IS TRUE AND {is_id("`request_id`")} AND {is_id("`user_id`")} AND `served_time_ms` > 0
    AND CARDINALITY(`items`) > 0{f" AND NOT {excluded}" if excluded else ""}
)
WHERE `copy` = 1"""


def _list_clicks(app: AppConfig) -> str:
    is_on_list = "ARRAY_CONTAINS(`l`.`items`, CAST(ROW(`e`.`item_id`) AS ROW<`item_id` STRING>))"
    is_in_time = f"`e`.`record_time_ms` - `l`.`served_time_ms` <= {horizon_ms(app)}"
    return f"""SELECT `e`.`item_id`, `e`.`event_time_ms`
FROM (
  SELECT `request_id`, `user_id`, `item_id`, `event_time_ms`, `record_time_ms`
  FROM {EVENTS}
  WHERE `request_id` IS NOT NULL AND `outcome` = 1
) AS `e`
JOIN shown_lists AS `l` ON `e`.`request_id` = `l`.`request_id` AND `e`.`user_id` = `l`.`user_id`
WHERE {is_on_list} AND {is_in_time}"""


def _item_exposures() -> str:
    return f"""SELECT `i`.`item_id`, `l`.`served_time_ms` AS `event_time_ms`, {_ONE} AS `shown`,
  {_ONE} / CARDINALITY(`l`.`items`) AS `expected`, {_ZERO} AS `clicked`
FROM shown_lists AS `l`
CROSS JOIN UNNEST(`l`.`items`) AS `i` (`item_id`)
WHERE {is_id("`i`.`item_id`")}
UNION ALL
SELECT `item_id`, `event_time_ms`, {_ZERO}, {_ZERO}, {_ONE}
FROM list_clicks"""
