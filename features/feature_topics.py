"""The feature topics: which view each one fills, and how a record becomes the values of a Feast row.

Records are JSON as in `protos/features.proto`; the key is the bare entity id; a null value deletes the row.
Field layouts: `docs/design.md`, "Feature rows". Pure, without Feast: the server decodes item rows with it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from features.config import FeaturesConfig
from features.counter_rows import flatten_counters
from features.errors import BadRowError

TOPIC_PREFIX, TOPIC_SUFFIX = "headrace.features.", ".v1"
MAX_ID_BYTES = 128

FieldValue = int | list[float] | list[int] | list[str] | None
FieldKind = Literal["int64", "int64_list", "double_list", "string_list"]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class CountsJson(TypedDict):
    """`DecayedCounts`."""

    half_life: Int64
    epoch: Int64
    events: float
    positives: float
    negatives: float


class CounterRowJson(msgspec.Struct):
    """`CounterRow`."""

    counters: list[CountsJson]
    event_time_ms: Int64
    entity_id: str = ""


class CategoryJson(msgspec.Struct):
    """`CategoryCount`."""

    category: str
    epoch: Int64
    events: float
    positives: float
    negatives: float


class CategoryRowJson(msgspec.Struct):
    """`CategoryRow`."""

    categories: list[CategoryJson]
    event_time_ms: Int64
    entity_id: str = ""


class HistoryEntryJson(msgspec.Struct):
    """`HistoryEntry`."""

    item_id: str
    action: str
    event_time_ms: Int64
    event_id: str
    outcome: Int64


class HistoryRowJson(msgspec.Struct):
    """`HistoryRow`."""

    entries: list[HistoryEntryJson]
    event_time_ms: Int64
    entity_id: str = ""


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One row as it goes into the online store."""

    view: str
    entity_id: str
    fields: Mapping[str, FieldValue]
    """Feast field name -> value; None deletes."""
    event_time_ms: int
    record_time_ms: int
    """Kafka's time of the record: the lower bound of the row version."""
    consumed: Mapping[str, int]
    """item_id -> newest event time, for the user's consumed set."""


@dataclass(frozen=True)
class FeatureTopic:
    """One view's topic."""

    view: str
    join_key: str
    fields: Mapping[str, FieldKind]
    """Feast field name -> type; the last one is the newest event time."""
    decoder: msgspec.json.Decoder[Any]
    fill: Callable[[Any, FeaturesConfig], tuple[tuple[FieldValue, ...], Mapping[str, int]]]
    """Decoded record -> (values of all fields but the last, consumed items)."""
    needs_every_row: bool = False
    """Replaced rows count too: their consumed items may have left the newest one."""

    @property
    def topic(self) -> str:
        """Kafka topic name."""
        return f"{TOPIC_PREFIX}{self.view}{TOPIC_SUFFIX}"

    def decode(self, key: bytes | None, value: bytes | None, record_time_ms: int, config: FeaturesConfig) -> FeatureRow:
        """Read one record.

        Raises:
            BadRowError: key or value are not a row of this view.
        """
        entity_id = decode_entity_id(key)
        if value is None:
            return FeatureRow(self.view, entity_id, dict.fromkeys(self.fields), 0, record_time_ms, {})
        try:
            row = self.decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRowError(str(error)) from error
        if row.entity_id not in ("", entity_id):
            raise BadRowError(f"entity_id {row.entity_id!r} is not the record's key {entity_id!r}")
        values, consumed = self.fill(row, config)
        fields = dict(zip(self.fields, (*values, row.event_time_ms), strict=True))
        return FeatureRow(self.view, entity_id, fields, row.event_time_ms, record_time_ms, consumed)


def decode_entity_id(key: bytes | None) -> str:
    """Read a record's key.

    Raises:
        BadRowError: the key is missing, too long or not UTF-8.
    """
    if not key or len(key) > MAX_ID_BYTES:
        raise BadRowError(f"the key must have 1-{MAX_ID_BYTES} bytes, not {len(key or b'')}")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise BadRowError(f"the key is not UTF-8: {error}") from error


def _fill_counters(row: CounterRowJson, config: FeaturesConfig) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    return (flatten_counters(row.counters, len(config.half_lives_s)),), {}


def _fill_categories(row: CategoryRowJson, config: FeaturesConfig) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    """Lay the categories out newest epoch and largest count first."""
    by_name: dict[str, list[CountsJson]] = {}
    for entry in row.categories:
        by_name.setdefault(entry.category, []).append(
            {
                "half_life": 0,
                "epoch": entry.epoch,
                "events": entry.events,
                "positives": entry.positives,
                "negatives": entry.negatives,
            }
        )
    flat = {name: flatten_counters(counts, 1) for name, counts in by_name.items()}
    # The name breaks ties: the same set of counts always gives the same row.
    names = sorted(flat, key=lambda name: (-flat[name][0], -flat[name][1], name))[: config.categories_per_user]
    return (names, [number for name in names for number in flat[name]]), {}


def _fill_history(row: HistoryRowJson, config: FeaturesConfig) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    entries = sorted(row.entries, key=lambda e: (e.event_time_ms, e.event_id), reverse=True)[: config.history_length]
    consumed: dict[str, int] = {}
    for entry in entries:
        consumed.setdefault(entry.item_id, entry.event_time_ms)
    columns = (
        [entry.item_id for entry in entries],
        [entry.action for entry in entries],
        [entry.event_time_ms for entry in entries],
        [entry.outcome for entry in entries],
    )
    return columns, consumed


_counter_decoder = msgspec.json.Decoder(CounterRowJson)

FEATURE_TOPICS: tuple[FeatureTopic, ...] = (
    FeatureTopic(
        view="user_counters",
        join_key="user_id",
        fields={"user_counters": "double_list", "user_counters_event_time_ms": "int64"},
        decoder=_counter_decoder,
        fill=_fill_counters,
    ),
    FeatureTopic(
        view="user_categories",
        join_key="user_id",
        fields={
            "user_category_names": "string_list",
            "user_category_counts": "double_list",
            "user_categories_event_time_ms": "int64",
        },
        decoder=msgspec.json.Decoder(CategoryRowJson),
        fill=_fill_categories,
    ),
    FeatureTopic(
        view="user_history",
        join_key="user_id",
        fields={
            "user_history_item_ids": "string_list",
            "user_history_actions": "string_list",
            "user_history_times_ms": "int64_list",
            "user_history_outcomes": "int64_list",
            "user_history_event_time_ms": "int64",
        },
        decoder=msgspec.json.Decoder(HistoryRowJson),
        fill=_fill_history,
        needs_every_row=True,
    ),
    FeatureTopic(
        view="item_counters",
        join_key="item_id",
        fields={"item_counters": "double_list", "item_counters_event_time_ms": "int64"},
        decoder=_counter_decoder,
        fill=_fill_counters,
    ),
)
"""One entry per Feast view; a test holds them equal to the declared views."""

TOPIC_BY_NAME = {entry.topic: entry for entry in FEATURE_TOPICS}
TOPIC_BY_VIEW = {entry.view: entry for entry in FEATURE_TOPICS}
