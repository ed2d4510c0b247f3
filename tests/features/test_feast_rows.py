"""Our bytes are Feast's bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from feast import RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Int64List, StringList, Value

from features.apply import VIEWS
from features.config import FeaturesConfig
from features.feast_rows import FeastRows, decode_version, encode_version, feast_project, version_argument
from features.feast_values import encode_value
from features.feature_topics import TOPIC_BY_VIEW, FeatureRow
from features.redis_channel import RedisChannel
from tests.features.feature_records import (
    NOW_MS,
    category_value,
    counter_value,
    decoded,
    exposure_value,
    history_value,
    shown_value,
)

LISTS = {"double_list": DoubleList, "int64_list": Int64List, "string_list": StringList}
APP_FEATURES = FeaturesConfig()
VIEW_BY_NAME = {view.name: view for view in (make_view(APP_FEATURES) for make_view in VIEWS)}
ROWS = (
    decoded("user_activity", "u1", counter_value("u1", 2.5)),
    decoded("user_activity", "ü 1", category_value("ü 1", [("Comédie", 3, 1.5)])),
    decoded("user_activity", "u1", history_value("u1", [("a", 5, "e1"), ("b", 9, "e2")])),
    decoded("user_exposure", "u2", shown_value("u2", [])),
    decoded("user_exposure", "u2", shown_value("u2", [("ü", -1), ("b", NOW_MS)])),
    decoded("item_activity", "x" * 128, counter_value("", 1e300)),
    decoded("item_exposure", "i1", exposure_value("i1", 0.1)),
    decoded("item_activity", "gone", None),
)


def feast_values(row: FeatureRow) -> dict[str, Any]:
    """The row in Feast's own messages."""
    values: dict[str, Any] = {}
    for name, kind in TOPIC_BY_VIEW[row.view].fields_of(APP_FEATURES).items():
        value: Any = row.fields[name]
        if value is None:
            values[name] = Value()
        elif kind == "int64":
            values[name] = Value(int64_val=value)
        else:
            values[name] = Value(**{f"{kind}_val": LISTS[kind](val=value)})
    return values


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.view}-{row.entity_id[:4]}")
def test_a_row_is_byte_for_byte_what_feast_writes(row: FeatureRow, redis_client: Any, redis_address: str) -> None:
    """`online_write_batch` of the pinned Feast and `FeastRows` leave the same hash."""
    view = VIEW_BY_NAME[row.view]
    config = RepoConfig(
        project="p", registry="unused", online_store={"type": "redis", "connection_string": redis_address}
    )
    key = EntityKey(join_keys=view.join_keys, entity_values=[Value(string_val=row.entity_id)])
    at = datetime.fromtimestamp((NOW_MS + 1) / 1000, tz=UTC)
    RedisOnlineStore().online_write_batch(config, view, [(key, feast_values(row), at, None)], None)
    ours = FeastRows("p")
    expected = redis_client.hgetall(ours.key(row.view, row.entity_id))
    assert dict(ours.mapping(row, NOW_MS + 1)) == expected
    redis_client.flushall()
    encoded = ours.encode(row)
    RedisChannel(redis_client).ask(encoded.head + version_argument(NOW_MS + 1) + encoded.tail)
    assert redis_client.hgetall(ours.key(row.view, row.entity_id)) == expected


def test_declared_views_and_topics_name_the_same_fields() -> None:
    """A field added to a view without a filler, or the other way round, fails here."""
    types = {"Int64": "int64", "Array(Float64)": "double_list", "Array(Int64)": "int64_list"}
    types["Array(String)"] = "string_list"
    declared = {
        view.name: {field.name: types[str(field.dtype)] for field in view.features} for view in VIEW_BY_NAME.values()
    }
    assert declared == {view: dict(topic.fields_of(APP_FEATURES)) for view, topic in TOPIC_BY_VIEW.items()}


def test_a_version_survives_the_store() -> None:
    """Milliseconds in, the same milliseconds out; nothing stored is 0."""
    assert [decode_version(encode_version(ms)) for ms in (0, 1, 999, NOW_MS)] == [0, 1, 999, NOW_MS]
    assert decode_version(None) == 0


def test_a_finer_stored_version_is_rounded_up() -> None:
    """Another writer's microseconds must not make the next version equal or older."""
    assert decode_version(encode_version(1000) + b"\x10\x01") == 1001


def test_an_app_name_becomes_a_feast_project() -> None:
    """Feast takes no dashes."""
    assert feast_project(SimpleNamespace(name="my-shop")) == "my_shop"  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, 2**63 - 1, -(2**63)])
def test_whole_numbers_are_protobuf_s_own_bytes(number: int) -> None:
    """Also negative and very large ones, which no view has today."""
    assert encode_value("int64", number) == Value(int64_val=number).SerializeToString()
    expected = Value(int64_list_val=Int64List(val=[number, 5]))
    assert encode_value("int64_list", [number, 5]) == expected.SerializeToString()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 28, 2000])
def test_lists_of_every_length_are_protobuf_s_own_bytes(length: int) -> None:
    """Where the length of the length changes, too."""
    numbers, texts = [n / 7 for n in range(length)], [f"ü{n}" for n in range(length)]
    assert encode_value("double_list", numbers) == Value(double_list_val=DoubleList(val=numbers)).SerializeToString()
    assert encode_value("string_list", texts) == Value(string_list_val=StringList(val=texts)).SerializeToString()
