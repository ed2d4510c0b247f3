"""The feature topics: which view each one fills, and how a record becomes the values of a Feast row.

Records are a `FeatureRow` of `protos/features.proto`, or JSON by hand and from older jobs; the key is the bare entity
id; a null value deletes the row. Field layouts: `docs/design.md`, "Feature rows". Pure, without Feast: the server reads
item rows with it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from features.config import FeaturesConfig
from features.counter_rows import NUMBERS_PER_HALF_LIFE
from features.declared_features import of_entity
from features.errors import BadRowError
from features.json_records import JsonDecoder
from features.packed_rows import is_packed, unpack_row

TOPIC_PREFIX, TOPIC_SUFFIX = "headrace.features.", ".v1"
MAX_ID_BYTES = 128

FieldValue = int | list[float] | list[int] | list[str] | None
FieldKind = Literal["int64", "int64_list", "double_list", "string_list"]
DECLARED_KIND: FieldKind = "double_list"
"""Declared features travel as their raw numbers."""
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


Numbers = list[float]


class UserActivityJson(msgspec.Struct):
    """`UserActivity`; what Flink has nothing to say of is null."""

    event_time_ms: Int64
    counters: Numbers | None = None
    history_item_ids: list[str] | None = None
    history_actions: list[str] | None = None
    history_times_ms: list[Int64] | None = None
    history_outcomes: list[Int64] | None = None
    category_names: list[str] | None = None
    category_counts: Numbers | None = None
    features: dict[str, Numbers | None] | None = None
    entity_id: str = ""


class UserExposureJson(msgspec.Struct):
    """`UserExposure`."""

    event_time_ms: Int64
    shown_item_ids: list[str] | None = None
    shown_times_ms: list[Int64] | None = None
    entity_id: str = ""


class ItemActivityJson(msgspec.Struct):
    """`ItemActivity`."""

    event_time_ms: Int64
    counters: Numbers | None = None
    features: dict[str, Numbers | None] | None = None
    entity_id: str = ""


class ItemExposureJson(msgspec.Struct):
    """`ItemExposure`."""

    event_time_ms: Int64
    exposure: Numbers | None = None
    entity_id: str = ""


class GlobalActivityJson(msgspec.Struct):
    """`GlobalActivity`."""

    event_time_ms: Int64
    features: dict[str, Numbers | None] | None = None
    entity_id: str = ""


@dataclass(slots=True)
class FeatureRow:
    """One row as it goes into the online store; a frozen one would take four times as long to make."""

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
    entity: str
    """Whose declared features the rows carry: `user`, `item` or `global`; empty where they carry none."""
    join_key: str
    fields: Mapping[str, FieldKind]
    """Feast field name -> type, declared features left out; the last one is the newest event time."""
    decoder: JsonDecoder[Any]
    fill: Callable[[Any, FeaturesConfig], tuple[tuple[FieldValue, ...], Mapping[str, int]]]
    """Decoded record -> (values of `fields` but the last, consumed items)."""
    needs_every_row: bool = False
    """Rows name consumed items: replaced ones count too, as an item may have left the newest one."""
    has_counters: bool = False
    """The first field holds counters at every half-life."""

    @property
    def topic(self) -> str:
        """Kafka topic name."""
        return f"{TOPIC_PREFIX}{self.view}{TOPIC_SUFFIX}"

    def fields_of(self, config: FeaturesConfig) -> Mapping[str, FieldKind]:
        """Return Feast field name -> type with the declared features, in the order of the view's schema."""
        *fixed, last = self.fields.items()
        declared = dict.fromkeys(of_entity(config.declared, self.entity), DECLARED_KIND)
        return dict([*fixed, *declared.items(), last])

    def decode(self, key: bytes | None, value: bytes | None, record_time_ms: int, config: FeaturesConfig) -> FeatureRow:
        """Read one record.

        Raises:
            BadRowError: key or value are not a row of this view.
        """
        entity_id = decode_entity_id(key)
        if value is None:
            return FeatureRow(self.view, entity_id, dict.fromkeys(self.fields_of(config)), 0, record_time_ms, {})
        row = self.read(value)
        if row.entity_id not in ("", entity_id):
            raise BadRowError(f"entity_id {row.entity_id!r} is not the record's key {entity_id!r}")
        values, consumed = self.fill(row, config)
        fields: dict[str, FieldValue] = dict(zip(self.fields, (*values, row.event_time_ms), strict=True))
        if self.entity:
            fields.update(_declared_values(row.features or {}, config, self.entity))
        return FeatureRow(self.view, entity_id, fields, row.event_time_ms, record_time_ms, consumed)

    def read(self, value: bytes) -> Any:
        """Return a row as the struct of its JSON, in whichever of the two forms it came.

        Raises:
            BadRowError: it is no row of this view.
        """
        if is_packed(value):
            return unpack_row(value, self.decoder.type)
        try:
            return self.decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRowError(str(error)) from error


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


def _declared_values(sent: Mapping[str, Numbers | None], config: FeaturesConfig, entity: str) -> dict[str, FieldValue]:
    """Return the numbers of each declared feature; zeros, "no event yet", where the row has none of this length.

    A feature is declared before the job that computes it runs, and rows of the old job still come for a while.
    """
    values: dict[str, FieldValue] = {}
    for name, feature in of_entity(config.declared, entity).items():
        numbers = sent.get(name)
        values[name] = numbers if numbers is not None and len(numbers) == feature.width else [0.0] * feature.width
    return values


def _counters(numbers: Numbers | None, num_rows: int) -> Numbers:
    """Return counters as sent; zeros before the first event.

    Raises:
        BadRowError: the length fits no half-lives of this configuration.
    """
    if not numbers:
        return [0.0] * num_rows
    if len(numbers) != num_rows:
        raise BadRowError(f"{len(numbers)} counters, {num_rows} are configured: the job has other half-lives")
    return numbers


def _fill_user_activity(
    row: UserActivityJson, config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    item_ids, times_ms = row.history_item_ids or [], row.history_times_ms or []
    columns = (item_ids, row.history_actions or [], times_ms, row.history_outcomes or [])
    if len({len(column) for column in columns}) > 1:
        raise BadRowError(f"history columns of lengths {[len(column) for column in columns]}")
    consumed = dict(zip(reversed(item_ids), reversed(times_ms), strict=True))  # The newest of an item stays.
    names, counts = row.category_names or [], row.category_counts or []
    if len(counts) != len(names) * NUMBERS_PER_HALF_LIFE:
        raise BadRowError(f"{len(counts)} category counts for {len(names)} categories")
    return (_counters(row.counters, num_counters(config)), *columns, names, counts), consumed


def _fill_user_exposure(
    row: UserExposureJson, _config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    item_ids, times_ms = row.shown_item_ids or [], row.shown_times_ms or []
    if len(item_ids) != len(times_ms):
        raise BadRowError(f"{len(item_ids)} shown items with {len(times_ms)} times")
    return (item_ids, times_ms), {}


def _fill_item_activity(
    row: ItemActivityJson, config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    return (_counters(row.counters, num_counters(config)),), {}


def _fill_item_exposure(
    row: ItemExposureJson, config: FeaturesConfig
) -> tuple[tuple[FieldValue, ...], Mapping[str, int]]:
    return (_counters(row.exposure, num_counters(config)),), {}


def num_counters(config: FeaturesConfig) -> int:
    """Return how many numbers the counters of one entity take."""
    return len(config.half_lives_s) * NUMBERS_PER_HALF_LIFE


FEATURE_TOPICS: tuple[FeatureTopic, ...] = (
    FeatureTopic(
        view="user_activity",
        entity="user",
        join_key="user_id",
        fields={
            "user_counters": "double_list",
            "user_history_item_ids": "string_list",
            "user_history_actions": "string_list",
            "user_history_times_ms": "int64_list",
            "user_history_outcomes": "int64_list",
            "user_category_names": "string_list",
            "user_category_counts": "double_list",
            "user_activity_event_time_ms": "int64",
        },
        decoder=JsonDecoder(UserActivityJson),
        fill=_fill_user_activity,
        needs_every_row=True,
        has_counters=True,
    ),
    FeatureTopic(
        view="user_exposure",
        entity="",
        join_key="user_id",
        fields={
            "user_shown_item_ids": "string_list",
            "user_shown_times_ms": "int64_list",
            "user_exposure_event_time_ms": "int64",
        },
        decoder=JsonDecoder(UserExposureJson),
        fill=_fill_user_exposure,
    ),
    FeatureTopic(
        view="item_activity",
        entity="item",
        join_key="item_id",
        fields={"item_counters": "double_list", "item_activity_event_time_ms": "int64"},
        decoder=JsonDecoder(ItemActivityJson),
        fill=_fill_item_activity,
        has_counters=True,
    ),
    FeatureTopic(
        view="item_exposure",
        entity="",
        join_key="item_id",
        fields={"item_exposure": "double_list", "item_exposure_event_time_ms": "int64"},
        decoder=JsonDecoder(ItemExposureJson),
        fill=_fill_item_exposure,
        has_counters=True,
    ),
    FeatureTopic(
        view="global_activity",
        entity="global",
        join_key="scope",
        fields={"global_activity_event_time_ms": "int64"},
        decoder=JsonDecoder(GlobalActivityJson),
        fill=lambda _row, _config: ((), {}),
    ),
)
"""One entry per Feast view; a test holds them equal to the declared views."""

TOPIC_BY_NAME = {entry.topic: entry for entry in FEATURE_TOPICS}
TOPIC_BY_VIEW = {entry.view: entry for entry in FEATURE_TOPICS}
