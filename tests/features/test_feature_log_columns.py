"""What the journal keeps of a row is the row."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from features.config import FeaturesConfig
from features.errors import FeatureLogError
from features.feast_rows import FeastRows
from features.feature_log_columns import TIMESTAMP, arrow_table, decode_varints, log_layouts, pack_rows, unpack_groups
from protos.online_rows_pb2 import Int64List
from tests.features.feature_records import NOW_MS, category_value, decoded, history_value

VIEW = "user_activity"
LAYOUT = log_layouts(FeaturesConfig())[VIEW]
HISTORY = decoded(VIEW, "u", history_value("u", [(f"i{number}", NOW_MS + number, "e") for number in range(50)]))
CATEGORIES = decoded(VIEW, "ü", category_value("ü", [("Comédie", 3, 1.5), ("", 4, 1e300)]))
DELETED = decoded(VIEW, "gone", None)
LARGE_NUMBERS = [0, 127, 128, 2**35, 2**56 - 1, 2**56, 2**63 - 1, -1, -(2**63)]


def with_field(name: str, value: Any) -> Any:
    """A row with another value."""
    row = decoded(VIEW, "u", history_value("u", []))
    row.fields = {**row.fields, name: value}
    return row


ROWS = [
    HISTORY,
    DELETED,
    CATEGORIES,
    with_field("user_history_item_ids", ["x" * 127, "", "ü"]),
    with_field("user_history_times_ms", LARGE_NUMBERS),
]
LONG_TEXT = with_field("user_history_item_ids", ["x" * 128, "", "y" * 70_000])


@pytest.mark.parametrize("rows", [ROWS, [*ROWS, LONG_TEXT], [DELETED], ROWS[:1]], ids=["all", "long", "none", "one"])
def test_rows_come_back_from_the_journal(rows: list[Any]) -> None:
    """Every kind of field, missing ones too, over several batches."""
    groups = unpack_groups(pack_rows(list(map(FeastRows("p").encode, rows))))
    read = arrow_table(LAYOUT, [(5, packed) for _, packed in groups]).to_pylist()
    expected = [{**row.fields, "user_id": row.entity_id, "event_time_ms": row.event_time_ms or None} for row in rows]
    found = [{name: value for name, value in row.items() if name != TIMESTAMP} for row in read]
    assert sorted(found, key=str) == sorted(expected, key=lambda row: str({name: row[name] for name in found[0]}))


def test_numbers_of_every_width_come_back() -> None:
    """Beside each other, as they lie in a column."""
    chance = random.Random(3)
    numbers = [chance.randrange(-(2**63), 2**63) >> chance.randrange(64) for _ in range(2000)] + LARGE_NUMBERS
    body = Int64List(val=numbers).SerializeToString()
    found, ends = decode_varints(body[3:])  # Behind the tag and a length of two bytes.
    assert (found.tolist(), len(ends)) == (numbers, len(numbers))
    assert [len(part) for part in decode_varints(b"")] == [0, 0]


@pytest.mark.parametrize("packed", [b"", b"\xc1", msgspec.msgpack.encode({VIEW: {"": ["u"]}})])
def test_a_journal_of_another_release_is_refused(packed: bytes) -> None:
    """It is put aside for a person, never read as rows."""
    with pytest.raises(FeatureLogError):
        unpack_groups(packed)
