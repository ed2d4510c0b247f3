"""Feast's offline source of a view: its folder in the feature log."""

from __future__ import annotations

from feast import FileSource
from feast.data_format import ParquetFormat

from features.feature_log_columns import TIMESTAMP
from features.feature_log_files import LOG_FOLDER


def feature_log_source(view: str) -> FileSource:
    """Return the source of a view; DuckDB reads the folder with all its hours as one table."""
    return FileSource(
        name=f"{view}_log",
        path=f"{LOG_FOLDER}/{view}",
        file_format=ParquetFormat(),
        timestamp_field=TIMESTAMP,
    )
