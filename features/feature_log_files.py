"""The files of the feature log: `<view>/date=YYYY-MM-DD/hour=HH/*.parquet`, hours in UTC by row version.

Every file appears whole, by one rename. An hour that is over becomes one file, `hour.parquet`, which names the parts it
holds; they are deleted only minutes later, so that a reader who has listed them finds them. In between rows lie there
twice, equal in entity and version, which a point-in-time join does not see.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import FeatureLogError
from features.feature_log_columns import TIMESTAMP, LogLayout, PackedRows, arrow_table, log_schema

LOG_FOLDER = "feature_log"
"""Below the state directory."""
HOUR_MS = 3_600_000
HOUR_FILE = "hour.parquet"
_SCHEMA_HOUR = "date=1970-01-01/hour=00"
_SCHEMA_FILE = f"{_SCHEMA_HOUR}/schema.parquet"
"""Empty, and the first in order: DuckDB takes the columns from it, also where nothing is logged yet."""
_PARTS_KEY = b"headrace.parts"
_ROWS_PER_GROUP = 65_536
_FORMAT: Mapping[str, Any] = {
    "compression": "zstd",
    # Numbers hardly repeat, and zstd finds strings that do: dictionaries take three times as long, for larger files.
    "use_dictionary": False,
}


def hour_folder(version_ms: int) -> str:
    """Return the partition of a row version."""
    return f"{datetime.fromtimestamp(version_ms / 1000, tz=UTC):date=%Y-%m-%d/hour=%H}"


def hour_start_ms(folder: Path) -> int:
    """Return where the hour of a partition folder starts."""
    text = folder.parent.name.removeprefix("date=") + folder.name.removeprefix("hour=")
    return int(datetime.strptime(text + "+0000", "%Y-%m-%d%H%z").timestamp() * 1000)


def prepare_views(log: Path, layouts: Iterable[LogLayout]) -> None:
    """Make every view's folder readable: its columns are there before its first row, and in files of before they were.

    Raises:
        FeatureLogError: a field changed its kind.
        OSError: the disk does not take it.
    """
    for layout in layouts:
        _prepare_view(log / layout.view, layout)


def _prepare_view(folder: Path, layout: LogLayout) -> None:
    path, schema = folder / _SCHEMA_FILE, log_schema(layout)
    if path.exists():
        known = pq.read_schema(path)
        if known.equals(schema):
            return
        for name in set(known.names) & set(schema.names):
            if known.field(name).type != schema.field(name).type:
                raise FeatureLogError(
                    f"field {name} of view {layout.view} is {known.field(name).type} in {folder} and "
                    f"{schema.field(name).type} now; a changed meaning needs a new view name"
                )
        for file in sorted(folder.glob("date=*/hour=*/*.parquet")):
            _add_missing_columns(file, schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, schema.empty_table())


def _add_missing_columns(path: Path, schema: Any) -> None:
    """Rewrite a file that was written before a field was declared; removed fields stay in it."""
    table = pq.ParquetFile(path).read()
    missing = [field for field in schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(len(table), field.type))
    if missing:
        write_parquet(path, table)


def write_parquet(path: Path, table: Any) -> None:
    """Write a file whole or not at all, and through to the disk."""
    temporary = _temporary(path)
    with _removed_on_error(temporary):
        pq.write_table(table, temporary, **_written_as(table.schema))
        publish(temporary, path)


def _written_as(schema: Any) -> dict[str, Any]:
    """Return how a file is written; statistics only where a reader looks for entities or times."""
    return {**_FORMAT, "write_statistics": [schema.names[0], TIMESTAMP]}


def publish(temporary: Path, path: Path) -> None:
    """Rename a finished file into its place, durably."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    """Return a name that no reader of `*.parquet` looks at."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_part(log: Path, layout: LogLayout, hour: str, batches: Sequence[tuple[int, PackedRows]], segment: str) -> int:
    """Write rows of one view and hour as one file and return how many; the same segment gives the same file again.

    Raises:
        OSError: the disk does not take it.
    """
    folder = log / layout.view / hour
    folder.mkdir(parents=True, exist_ok=True)
    table = arrow_table(layout, batches)
    write_parquet(folder / f"part-{batches[-1][0]:015d}-{segment}.parquet", table)
    return len(table)


def hour_folders(log: Path) -> list[Path]:
    """Return all partition folders but the one of the schema, oldest hour first."""
    folders = [folder for folder in log.glob("*/date=*/hour=*") if not folder.match(f"*/{_SCHEMA_HOUR}")]
    return sorted(folders, key=lambda folder: (folder.parent.name, folder.name, str(folder)))


def newest_logged_version(log: Path) -> int:
    """Return a bound that no version in the log's files is above; 0 for an empty log."""
    newest = 0
    folders = hour_folders(log)
    for folder in folders:
        if (folder.parent.name, folder.name) != (folders[-1].parent.name, folders[-1].name):
            continue
        for file in folder.glob("*.parquet"):
            is_hour = file.name == HOUR_FILE
            newest = max(newest, hour_start_ms(folder) + HOUR_MS - 1 if is_hour else int(file.name.split("-")[1]))
    return newest


def compact_hour(folder: Path, now_ms: int, grace_ms: int) -> Iterator[None]:
    """Merge an hour's parts into one file, and delete parts that lie in it for `grace_ms`; yields between row groups.

    Raises:
        OSError: the disk does not take it.
    """
    hour = folder / HOUR_FILE
    parts = {path.name for path in folder.glob("part-*.parquet")}
    held = held_parts(hour)
    if parts - held:
        yield from _merge(hour, sorted(parts - held), sorted(parts))
    elif parts and now_ms - hour.stat().st_mtime * 1000 >= grace_ms:
        for name in parts:
            (folder / name).unlink(missing_ok=True)


def held_parts(hour: Path) -> set[str]:
    """Return the names of the parts whose rows are in an hour's file; none where there is no such file."""
    if not hour.exists():
        return set()
    return set(json.loads((pq.read_schema(hour).metadata or {}).get(_PARTS_KEY, b"[]")))


def _merge(hour: Path, added: Sequence[str], held: Sequence[str]) -> Iterator[None]:
    sources = [hour] if hour.exists() else []
    sources += [hour.parent / name for name in added]
    schema = pq.read_schema(sources[-1]).with_metadata({_PARTS_KEY: json.dumps(held)})
    temporary = _temporary(hour)
    with _removed_on_error(temporary):
        with pq.ParquetWriter(temporary, schema, **_written_as(schema)) as writer:
            for table in _row_groups(sources, schema):
                writer.write_table(table)
                yield
        publish(temporary, hour)


def _row_groups(sources: Sequence[Path], schema: Any) -> Iterator[Any]:
    """Yield the rows of several files in groups of a size that reads well; no more than one group is in memory."""
    waiting: list[Any] = []
    for source in sources:
        for batch in pq.ParquetFile(source).iter_batches(_ROWS_PER_GROUP, columns=schema.names, use_threads=False):
            waiting.append(batch)
            if sum(map(len, waiting)) >= _ROWS_PER_GROUP:
                yield pa.Table.from_batches(waiting).cast(schema)
                waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).cast(schema)


def delete_old_hours(log: Path, oldest_ms: int, max_bytes: int, now_ms: int) -> int:
    """Delete hours that ended before `oldest_ms`, then the oldest ones beyond `max_bytes`; return how many.

    Raises:
        OSError: one cannot be deleted.
    """
    folders = hour_folders(log)
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
    excess = sum(sizes.values()) - max_bytes
    deleted = 0
    for folder in folders:
        end_ms = hour_start_ms(folder) + HOUR_MS
        if end_ms > oldest_ms and (excess <= 0 or end_ms > now_ms):
            continue
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # Other hours of the day are still there.
            folder.parent.rmdir()
        excess -= sizes[folder]
        deleted += 1
    return deleted
