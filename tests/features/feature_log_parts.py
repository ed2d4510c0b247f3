"""A feature log beside a real Redis, with a clock that the test turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.config import FeaturesConfig
from features.feast_rows import FeastRows
from features.feature_log import FeatureLog
from features.feature_log_config import FeatureLogConfig
from features.feature_topics import FeatureRow
from features.online_writer import OnlineWriter
from tests.features.feature_records import NOW_MS


class Clock:
    """Milliseconds that pass when told."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Tell the time."""
        return self.now_ms

    def turn(self, by_ms: int) -> None:
        """Let time pass."""
        self.now_ms += by_ms


class LoggedStore:
    """Writer and log of one process; `crash` leaves everything as a kill -9 would."""

    def __init__(
        self, client: Any, folder: Path, clock: Clock, config: FeatureLogConfig | None = None, project: str = "headrace"
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.log = FeatureLog(folder, FeaturesConfig(feature_log=config or FeatureLogConfig()), clock)
        self.writer = OnlineWriter(client, FeastRows(project), "headrace", 2000, "c", None, self.log, clock)
        self.writer.rise_above(*self.log.newest())
        self.claim()

    def claim(self) -> None:
        """Become the writer, as the ingester does."""
        claim = self.writer.try_claim()
        assert claim is not None
        self.log.start_epoch(claim)

    def write(self, *rows: FeatureRow) -> int:
        """Write rows and return their version."""
        self.writer.write_rows(rows, {})
        return self.writer._version_ms

    def flush(self) -> None:
        """Bring what is noted into files."""
        self.log.flush(self.writer.noted_round)

    def crash(self) -> None:
        """End the threads; nothing is sealed or flushed."""
        self.log.close(None)
        self.writer._channel.close()


def logged(folder: Path, view: str) -> list[dict[str, Any]]:
    """Every row of a view in the log's files, by version."""
    files = [path for path in sorted((folder / view).glob("date=*/hour=*/*.parquet"))]
    rows = [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=lambda row: (row["event_timestamp"], str(row)))


def versions(folder: Path, view: str) -> list[int]:
    """The versions of a view's rows in the log's files."""
    return [round(row["event_timestamp"].timestamp() * 1000) for row in logged(folder, view)]
