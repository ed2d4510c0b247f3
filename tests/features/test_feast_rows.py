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
from features.feast_rows import FeastRows, decode_version, encode_version, feast_project
from features.feature_topics import TOPIC_BY_VIEW, FeatureRow
from tests.features.declared import DECLARING
from tests.features.feature_records import (
    NOW_MS,
    categories,
    decoded,
    exposure_value,
    global_value,
    history,
    item_value,
    shown_value,
    user_value,
)

LISTS = {"double_list": DoubleList, "int64_list": Int64List, "string_list": StringList}
ROWS = (
    decoded("user_activity", "u1", user_value("u1", 2.5)),
    decoded("user_activity", "ü 1", user_value("ü 1", **categories([("Comédie", 3, 1.5)]))),
    decoded("user_activity", "u2", user_value("u2", **history([("b", 9), ("a", 5)]))),
    decoded("user_activity", "u3", user_value("u3", features={"user_views": [7.0, 2.0, 1.0]}), config=DECLARING),
    decoded("user_exposure", "u1", shown_value("u1", [("b", 9), ("a", 5)])),
    decoded("item_activity", "x" * 128, item_value("", 1e300)),
    decoded("item_activity", "gone", None),
    decoded("item_activity", "gone", None, config=DECLARING),
    decoded("item_exposure", "i1", exposure_value("i1", 3.0, 0.3, 1.0)),
    decoded("global_activity", "all", global_value(global_likes=[5.0]), config=DECLARING),
)


def feast_values(row: FeatureRow) -> dict[str, Any]:
    """The row in Feast's own messages."""
    values: dict[str, Any] = {}
    for name, kind in TOPIC_BY_VIEW[row.view].fields_of(DECLARING).items():
        value: Any = row.fields.get(name, ...)
        if value is ...:  # Decoded without declared features.
            continue
        if value is None:
            values[name] = Value()
        elif kind == "int64":
            values[name] = Value(int64_val=value)
        else:
            values[name] = Value(**{f"{kind}_val": LISTS[kind](val=value)})
    return values


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.view}-{row.entity_id[:4]}-{len(row.fields)}")
def test_a_row_is_byte_for_byte_what_feast_writes(row: FeatureRow, redis_client: Any, redis_address: str) -> None:
    """`online_write_batch` of the pinned Feast and `FeastRows` leave the same hash."""
    view = next(view for view in (make_view(DECLARING) for make_view in VIEWS) if view.name == row.view)
    config = RepoConfig(
        project="p", registry="unused", online_store={"type": "redis", "connection_string": redis_address}
    )
    key = EntityKey(join_keys=view.join_keys, entity_values=[Value(string_val=row.entity_id)])
    at = datetime.fromtimestamp((NOW_MS + 1) / 1000, tz=UTC)
    RedisOnlineStore().online_write_batch(config, view, [(key, feast_values(row), at, None)], None)
    ours = FeastRows("p")
    expected = redis_client.hgetall(ours.key(row.view, row.entity_id))
    assert dict(ours.mapping(row, NOW_MS + 1)) == expected


@pytest.mark.parametrize("config", [FeaturesConfig(), DECLARING], ids=["default", "declaring"])
def test_views_and_topics_name_the_same_fields_in_one_order(config: FeaturesConfig) -> None:
    """A field added to a view without a filler, or the other way round, fails here; so does another order."""
    types = {"Int64": "int64", "Array(Float64)": "double_list", "Array(Int64)": "int64_list"}
    types["Array(String)"] = "string_list"
    views = [make_view(config) for make_view in VIEWS]
    declared = {view.name: [(field.name, types[str(field.dtype)]) for field in view.features] for view in views}
    assert declared == {view: list(topic.fields_of(config).items()) for view, topic in TOPIC_BY_VIEW.items()}
    assert {view.name: view.join_keys for view in views} == {v: [t.join_key] for v, t in TOPIC_BY_VIEW.items()}


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
