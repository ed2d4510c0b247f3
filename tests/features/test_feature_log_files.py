"""Files that appear whole, hours that become one file, disks that do not fill up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features import feature_log_files as files
from features.config import FeaturesConfig
from features.errors import FeatureLogError
from features.feast_rows import FeastRows
from features.feature_log_columns import LogLayout, log_layouts, log_schema, pack_rows, unpack_groups
from features.feature_log_files import HOUR_MS, compact_hour, delete_old_hours, hour_folder, prepare_views, write_part
from tests.features.feature_log_parts import logged, versions
from tests.features.feature_records import NOW_MS, counter_value, decoded

VIEW = "user_activity"
LAYOUT = log_layouts(FeaturesConfig())[VIEW]


def part(log: Path, version_ms: int, users: int = 1, segment: str = "s") -> Path:
    """Write a part with some users' counters and return its folder."""
    rows = [decoded(VIEW, f"u{number}", counter_value(f"u{number}", 1.5)) for number in range(users)]
    ((_, packed),) = unpack_groups(pack_rows(list(map(FeastRows("p").encode, rows))))
    write_part(log, LAYOUT, hour_folder(version_ms), [(version_ms, packed)], segment)
    return log / VIEW / hour_folder(version_ms)


def compact(folder: Path, grace_ms: int = 10**15) -> list[str]:
    """Merge an hour to the end and return the names of its files."""
    list(compact_hour(folder, NOW_MS, grace_ms))
    return sorted(path.name for path in folder.iterdir())


def with_field(name: str, kind: Any) -> LogLayout:
    """The layout with one field more, or one of another kind."""
    return replace(LAYOUT, fields={**LAYOUT.fields, name: kind})


def test_an_hour_becomes_one_file(tmp_path: Path) -> None:
    """The parts stay until readers that have listed them are done; then they go."""
    folder = [part(tmp_path, NOW_MS + number, users=3) for number in range(4)].pop()
    before = logged(tmp_path, VIEW)
    assert "hour.parquet" in compact(folder)
    assert pq.read_table(folder / "hour.parquet").num_rows == 12
    assert compact(folder) != ["hour.parquet"]
    assert compact(folder, grace_ms=-(10**15)) == ["hour.parquet"]
    assert logged(tmp_path, VIEW) == before


def test_a_late_part_joins_its_hour(tmp_path: Path) -> None:
    """A journal that is read after a restart may belong to an hour that is merged already."""
    folder = part(tmp_path, NOW_MS)
    compact(folder)
    compact(folder, grace_ms=-(10**15))
    part(tmp_path, NOW_MS + 1)
    compact(folder)
    assert compact(folder, grace_ms=-(10**15)) == ["hour.parquet"]
    assert versions(tmp_path, VIEW) == [NOW_MS, NOW_MS + 1]


def test_a_merge_that_is_cut_short_leaves_the_parts(tmp_path: Path) -> None:
    """Nothing of it is seen, and the next one does it."""
    folder = part(tmp_path, NOW_MS)
    steps: Any = compact_hour(folder, NOW_MS, 0)
    next(steps)
    steps.close()
    assert [path.name for path in folder.iterdir()] == [f"part-{NOW_MS:015d}-s.parquet"]


def test_merged_rows_come_in_groups_of_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for merging is one group, not one hour."""
    monkeypatch.setattr(files, "_ROWS_PER_GROUP", 5)
    folder = [part(tmp_path, NOW_MS + number, users=3) for number in range(4)].pop()
    compact(folder)
    groups = pq.ParquetFile(folder / "hour.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [6, 6]


def test_old_hours_go(tmp_path: Path) -> None:
    """Where the whole hour is older than what is kept, its day with the last of its hours."""
    old, young = part(tmp_path, NOW_MS - 48 * HOUR_MS), part(tmp_path, NOW_MS)
    assert delete_old_hours(tmp_path, NOW_MS - 47 * HOUR_MS, 10**12, NOW_MS) == 1
    assert (old.parent.exists(), young.exists()) == (False, True)


def test_the_oldest_hours_go_when_the_log_is_too_large(tmp_path: Path) -> None:
    """Never the running hour, however large."""
    folders = [part(tmp_path, NOW_MS - hours * HOUR_MS) for hours in (2, 1, 0)]
    one = sum(path.stat().st_size for path in folders[0].iterdir())
    delete_old_hours(tmp_path, 0, 2 * one, NOW_MS)
    assert [folder.exists() for folder in folders] == [False, True, True]
    delete_old_hours(tmp_path, 0, 0, NOW_MS)
    assert [folder.exists() for folder in folders] == [False, False, True]


def test_an_added_field_is_missing_in_rows_from_before(tmp_path: Path) -> None:
    """DuckDB takes no files of one table with different columns, so the old ones are filled up."""
    prepare_views(tmp_path, [LAYOUT])
    part(tmp_path, NOW_MS)
    wider = with_field("user_new", "int64_list")
    prepare_views(tmp_path, [wider])
    (row,) = logged(tmp_path, VIEW)
    assert (row["user_new"], row["user_id"]) == (None, "u0")
    assert pq.read_schema(next((tmp_path / VIEW).glob("date=1970*/*/*.parquet"))).equals(log_schema(wider))


def test_a_field_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A changed meaning is a new name; the sentence says which."""
    prepare_views(tmp_path, [LAYOUT])
    with pytest.raises(FeatureLogError, match=r"field user_counters .* list<element: double> .* int64 now"):
        prepare_views(tmp_path, [with_field("user_counters", "int64")])


def test_versions_of_an_hour_are_bounded_by_names(tmp_path: Path) -> None:
    """A part tells its newest version, a merged hour its end; no file is opened at a start."""
    folder = part(tmp_path, NOW_MS)
    assert files.newest_logged_version(tmp_path) == NOW_MS
    compact(folder)
    assert files.newest_logged_version(tmp_path) == NOW_MS // HOUR_MS * HOUR_MS + HOUR_MS - 1
