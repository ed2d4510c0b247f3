"""Rows of one entity taken out of the feature log's files, each rewritten whole by one rename."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.feature_log_files import hour_folders, write_parquet
from features.feature_topics import TOPIC_BY_VIEW


def erase_entity(log: Path, views: Iterable[str], entity_id: str) -> int:
    """Rewrite every file that has rows of an entity without them; return how many rows went.

    A file that goes while this looks is passed over: its rows lie in the hour's file, which is looked at too when the
    caller looks again.

    Args:
        log: the feature log's folder.
        views: whose rows.
        entity_id: of the entity.

    Raises:
        OSError: the disk refuses; files are as they were or without the rows.
    """
    wanted = set(views)
    files = [file for folder in hour_folders(log) if folder.parts[-3] in wanted for file in folder.glob("*.parquet")]
    return sum(_erase(file, TOPIC_BY_VIEW[file.parts[-4]].join_key, entity_id) for file in files)


def _erase(file: Path, join_key: str, entity_id: str) -> int:
    try:
        if not _may_hold(file, join_key, entity_id):
            return 0
        table = pq.ParquetFile(file).read()
    except FileNotFoundError:
        return 0
    kept = table.filter(pc.not_equal(table.column(join_key), pa.scalar(entity_id)))
    if len(kept) < len(table):
        write_parquet(file, kept)
    return len(table) - len(kept)


def _may_hold(file: Path, join_key: str, entity_id: str) -> bool:
    """Look at one column only."""
    ids = pq.read_table(file, columns=[join_key]).column(join_key)
    return bool(pc.any(pc.equal(ids, pa.scalar(entity_id))).as_py())
