"""Rows of one entity leave the feature log; everybody else's stay as they were."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.config import FeaturesConfig
from features.feature_log_columns import log_layouts, log_schema
from features.feature_log_erasure import erase_entity
from features.feature_log_files import HOUR_FILE, write_parquet

_HOUR = "date=2026-01-05/hour=12"


def _write(log: Path, view: str, name: str, ids: list[str], metadata: dict[bytes, bytes] | None = None) -> Path:
    schema = log_schema(log_layouts(FeaturesConfig())[view])
    columns = [pa.array(ids) if place == 0 else pa.nulls(len(ids), field.type) for place, field in enumerate(schema)]
    path = log / view / _HOUR / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, pa.table(columns, schema=schema.with_metadata(metadata)))
    return path


@pytest.mark.parametrize("user_id", ["ada", "*", "../x", "a:b", "x\u202ey", "ада"])
def test_only_the_entity_goes(tmp_path: Path, user_id: str) -> None:
    """Parts and the hour's file alike; the parts that an hour holds stay named in it."""
    hour = _write(tmp_path, "user_activity", HOUR_FILE, ["bea", user_id, "ad"], {b"headrace.parts": b'["part-1"]'})
    part = _write(tmp_path, "user_exposure", "part-000000000000001-a.parquet", [user_id, "bea", user_id])
    assert erase_entity(tmp_path, ("user_activity", "user_exposure"), user_id) == 3
    assert pq.read_table(hour).column("user_id").to_pylist() == ["bea", "ad"]
    assert pq.read_table(part).column("user_id").to_pylist() == ["bea"]
    assert pq.read_schema(hour).metadata[b"headrace.parts"] == b'["part-1"]'
    assert erase_entity(tmp_path, ("user_activity", "user_exposure"), user_id) == 0


def test_files_without_the_entity_are_not_touched(tmp_path: Path) -> None:
    """Nothing is rewritten for a user whom the log does not know, and other views keep an equal id."""
    path = _write(tmp_path, "user_activity", HOUR_FILE, ["bea"])
    item = _write(tmp_path, "item_activity", HOUR_FILE, ["ada"])
    before = (path.stat().st_ino, item.stat().st_ino)
    assert erase_entity(tmp_path, ("user_activity",), "ada") == 0
    assert (path.stat().st_ino, item.stat().st_ino) == before
