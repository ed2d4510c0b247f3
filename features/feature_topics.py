"""The feature topics: which view each one fills, and how a record becomes the values of a Feast row.

Records are JSON as in `protos/features.proto`; the key is the bare entity id; a null value deletes the row.
Field layouts: `docs/design.md`, "Feature rows". Pure functions, no Feast import: the server reads item rows with them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec

from features.config import FeaturesConfig
from features.counter_rows import flatten_counters
from features.errors import BadRowError

TOPIC_PREFIX, TOPIC_SUFFIX = "headrace.features.", ".v1"
MAX_ID_BYTES = 128

FieldValue = int | list[float] | list[int] | list[str] | None


class CountsJson(TypedDict):
    """`DecayedCounts`."""

    half_life: int
    epoch: int
    events: float
    positives: float
    negatives: float


class CounterRowJson(msgspec.Struct):
    """`CounterRow`."""

    counters: list[CountsJson]
    event_time_ms: int
    entity_id: str = ""


class CategoryJson(msgspec.Struct):
    """`CategoryCount`."""

    category: str
    epoch: int
    events: float
    positives: float
    negatives: float


class CategoryRowJson(msgspec.Struct):
    """`CategoryRow`."""

    categories: list[CategoryJson]
    event_time_ms: int
    entity_id: str = ""


class HistoryEntryJson(msgspec.Struct):
    """`HistoryEntry`."""

    item_id: str
    action: str
    event_time_ms: int
    event_id: str
    outcome: int


class HistoryRowJson(msgspec.Struct):
    """`HistoryRow`."""

    entries: list[HistoryEntryJson]
    event_time_ms: int
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
    fields: tuple[str, ...]
    """Feast field names; the last one is the newest event time."""
    decoder: msgspec.json.Decoder[Any]
    fill: Callable[[Any, FeaturesConfig], tuple[tuple[FieldValue, ...], Mapping[str, int]]]
    """Decoded record -> (values of all fields but the last, consumed items)."""

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


def _fill_counters(
    row: CounterRowJson, config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    return (flatten_counters(row.counters, len(config.half_lives_s)),), {}


def _fill_categories(
    row: CategoryRowJson, config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
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
        "user_counters", "user_id", ("user_counters", "user_counters_event_time_ms"), _counter_decoder, _fill_counters
    ),
    FeatureTopic(
        "user_categories",
        "user_id",
        ("user_category_names", "user_category_counts", "user_categories_event_time_ms"),
        msgspec.json.Decoder(CategoryRowJson),
        _fill_categories,
    ),
    FeatureTopic(
        "user_history",
        "user_id",
        (
            "user_history_item_ids",
            "user_history_actions",
            "user_history_times_ms",
            "user_history_outcomes",
            "user_history_event_time_ms",
        ),
        msgspec.json.Decoder(HistoryRowJson),
        _fill_history,
    ),
    FeatureTopic(
        "item_counters", "item_id", ("item_counters", "item_counters_event_time_ms"), _counter_decoder, _fill_counters
    ),
)
"""One entry per Feast view; a test holds them equal to the declared views."""

TOPIC_BY_NAME = {entry.topic: entry for entry in FEATURE_TOPICS}
