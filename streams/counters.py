"""Forward-decayed counters of users and items at every half-life, in one insert-only chain per entity.

An event at time t weighs 2^((t - landmark) / half_life), landmark = start of its epoch of 40 half-lives (Cormode et
al. 2009, "Forward decay"), so sums do not depend on the order of arrival and never overflow.

    events -> one OVER sum per half-life, keyed by (entity, epoch)  -> newest event time of the entity
           -> the newest sums of the even and of the odd epoch, keyed by entity -> this and the previous epoch

Grouping by (entity, half-life, epoch) and collecting the groups would send eight retractions an event through three
more operators; this chain sends one row, and every row it sends is whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.config import EPOCH_HALF_LIVES, AppConfig
from streams.events import EVENTS
from streams.sql_text import View

COLUMNS = (
    "`counters` ARRAY<ROW<`half_life` INT, `epoch` BIGINT, `events` DOUBLE, `positives` DOUBLE, `negatives` DOUBLE>>"
)
"""protos/features.proto CounterRow between `entity_id` and `event_time_ms`."""

KINDS = ("events", "positives", "negatives")
_RUNNING = "ORDER BY `proctime` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


@dataclass(frozen=True)
class HalfLife:
    """One half-life and its epochs."""

    index: int
    half_life_ms: float

    @property
    def epoch_ms(self) -> int:
        """Length of an epoch in milliseconds."""
        return round(EPOCH_HALF_LIVES * self.half_life_ms)

    def epoch(self, time: str = "`event_time_ms`") -> str:
        """Return the SQL for the epoch of a time; times are positive, so division rounds down."""
        return f"{time} / {self.epoch_ms}"

    def weight(self) -> str:
        """Return the SQL for an event's weight."""
        since_landmark = f"MOD(`event_time_ms`, {self.epoch_ms})"
        return f"POWER(CAST(2 AS DOUBLE), {since_landmark} / CAST({self.half_life_ms!r} AS DOUBLE))"


def half_lives(app: AppConfig) -> list[HalfLife]:
    """Return the configured half-lives, shortest first."""
    return [HalfLife(index, seconds * 1000.0) for index, seconds in enumerate(app.features.half_lives_s)]


def counter_views(app: AppConfig, entity: str) -> list[View]:
    """Return the chain of views that ends in `<entity>_counter_slots`.

    Args:
        app: names the half-lives.
        entity: `user` or `item`.
    """
    views = [View(f"{entity}_counter_events", _entity_events(entity))]
    sums: list[str] = []
    for half_life in half_lives(app):
        weighed = View(f"{entity}_counter_weights_{half_life.index}", _weighed(half_life, sums, views[-1].name))
        summed = View(f"{entity}_counter_sums_{half_life.index}", _summed(half_life, sums, weighed.name))
        views += [weighed, summed]
        sums += [f"`{kind}_{half_life.index}`" for kind in KINDS]
    newest = View(f"{entity}_counter_newest", _newest(sums, views[-1].name))
    slots = View(f"{entity}_counter_slots", _slots(app, newest.name))
    return [*views, newest, slots]


def insert_counters(app: AppConfig, entity: str) -> str:
    """Return the statement that writes this and the previous epoch of every half-life, zeros where nothing was."""
    rows = ",\n    ".join(
        f"CAST(ROW({half_life.index}, {half_life.epoch()} - {back}, "
        + ", ".join(_slot_of(half_life, back, kind) for kind in KINDS)
        + ") AS ROW<`half_life` INT, `epoch` BIGINT, `events` DOUBLE, `positives` DOUBLE, `negatives` DOUBLE>)"
        for half_life in half_lives(app)
        for back in (0, 1)
    )
    return f"""INSERT INTO {entity}_counters_rows
SELECT `entity_id`, ARRAY[
    {rows}
  ], `event_time_ms`
FROM {entity}_counter_slots"""


def _entity_events(entity: str) -> str:
    return f"SELECT `{entity}_id` AS `entity_id`, `event_time_ms`, `outcome`, `proctime`\nFROM {EVENTS}"


def _weighed(half_life: HalfLife, sums: list[str], source: str) -> str:
    carried = ", ".join(["`entity_id`", "`event_time_ms`", "`outcome`", "`proctime`", *sums])
    return f"SELECT {carried}, {half_life.epoch()} AS `epoch`, {half_life.weight()} AS `weight`\nFROM {source}"


def _summed(half_life: HalfLife, sums: list[str], source: str) -> str:
    carried = ", ".join(["`entity_id`", "`event_time_ms`", "`outcome`", "`proctime`", *sums])
    weights = (
        "`weight`",
        "CASE WHEN `outcome` = 1 THEN `weight` ELSE CAST(0 AS DOUBLE) END",
        "CASE WHEN `outcome` = -1 THEN `weight` ELSE CAST(0 AS DOUBLE) END",
    )
    new = ",\n  ".join(
        f"SUM({weight}) OVER so_far AS `{kind}_{half_life.index}`" for kind, weight in zip(KINDS, weights, strict=True)
    )
    return f"""SELECT {carried},
  {new}
FROM {source}
WINDOW so_far AS (PARTITION BY `entity_id`, `epoch` {_RUNNING})"""


def _newest(sums: list[str], source: str) -> str:
    return f"""SELECT `entity_id`, `event_time_ms`, {", ".join(sums)},
  MAX(`event_time_ms`) OVER so_far AS `newest_time_ms`
FROM {source}
WINDOW so_far AS (PARTITION BY `entity_id` {_RUNNING})"""


def _slots(app: AppConfig, source: str) -> str:
    # A late event of an older epoch must not take the slot of a newer one. LAST_VALUE passes nulls over.
    columns = []
    for half_life in half_lives(app):
        is_recent = f"{half_life.epoch()} >= {half_life.epoch('`newest_time_ms`')} - 1"
        for parity in (0, 1):
            condition = f"{is_recent} AND MOD({half_life.epoch()}, 2) = {parity}"
            for name, value in (("epoch", half_life.epoch()), *((k, f"`{k}_{half_life.index}`") for k in KINDS)):
                columns.append(
                    f"LAST_VALUE(CASE WHEN {condition} THEN {value} END) AS {_slot(name, half_life, parity)}"
                )
    return f"""SELECT `entity_id`, MAX(`newest_time_ms`) AS `event_time_ms`,
  {("," + chr(10) + "  ").join(columns)}
FROM {source}
GROUP BY `entity_id`"""


def _slot(name: str, half_life: HalfLife, parity: int) -> str:
    return f"`{name}_{half_life.index}_{('even', 'odd')[parity]}`"


def _slot_of(half_life: HalfLife, back: int, kind: str) -> str:
    """Return the SQL for one sum of the newest epoch (`back` 0) or the one before (1)."""
    wanted = f"{half_life.epoch()} - {back}"
    cases = " ".join(
        f"WHEN {_slot('epoch', half_life, parity)} = {wanted} THEN {_slot(kind, half_life, parity)}"
        for parity in (0, 1)
    )
    return f"CASE {cases} ELSE CAST(0 AS DOUBLE) END"
