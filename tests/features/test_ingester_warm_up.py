"""No row waits for a compiler."""

from __future__ import annotations

from typing import Any

from features import consumed_items, feature_log_columns, record_reader
from features.config import FeaturesConfig
from features.feast_rows import FeastRows
from features.feature_topics import TOPIC_BY_VIEW
from features.ingester_warm_up import warm_up_ingester
from tests.features.feature_records import Record, history, packed, user_value

COMPILED: tuple[Any, ...] = (
    consumed_items._pack_history,
    record_reader._locate_records,
    feature_log_columns._unpack_texts,
    feature_log_columns._read_varints,
)


def _signatures() -> list[int]:
    return [len(function.signatures) for function in COMPILED]


def test_rows_are_of_the_types_that_were_compiled() -> None:
    """All functions are compiled, and a row as a job writes it compiles none again."""
    warm_up_ingester()
    compiled = _signatures()
    assert all(compiled)
    topic = TOPIC_BY_VIEW["user_activity"]
    value = packed(topic, user_value("u1", **history([("a", 9)])))
    row = FeastRows("p").encode_record(topic, Record(b"u1", value), FeaturesConfig())
    layout = feature_log_columns.log_layouts(FeaturesConfig())["user_activity"]
    (_, columns), *_ = feature_log_columns.unpack_groups(feature_log_columns.pack_rows([row]))
    feature_log_columns.arrow_table(layout, [(1, columns)])
    assert _signatures() == compiled
