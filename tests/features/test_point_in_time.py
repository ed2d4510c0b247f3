"""Feast's point-in-time join over the log gives what the server read at that time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import FeatureStore

from features.apply import apply_features
from features.config import AppConfig, Endpoints
from features.feast_rows import feast_project
from features.feature_log_config import FeatureLogConfig
from features.feature_log_files import HOUR_MS, LOG_FOLDER, compact_hour, hour_folders
from features.feature_topics import FEATURE_TOPICS, FeatureRow
from features.store import open_store
from tests.features.conftest import ROOT
from tests.features.feature_log_parts import Clock, LoggedStore
from tests.features.feature_records import (
    NOW_MS,
    counter_value,
    decoded,
    exposure_value,
    history_value,
    row_value,
    shown_value,
)

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # ibis, against its own DuckDB.

JOIN_KEYS = {topic.view: topic.join_key for topic in FEATURE_TOPICS}


@dataclass
class Past:
    """A store with a log, and what was read from it when."""

    feast: FeatureStore
    logged: LoggedStore
    reads: list[tuple[str, str, int, dict[str, Any]]]

    @property
    def readers(self) -> list[tuple[str, str, str]]:
        """Every service with its join key and a view of it."""
        found = []
        for service in sorted(self.feast.list_feature_services(), key=lambda service: service.name, reverse=True):
            view = service.feature_view_projections[0].name
            found.append((service.name, JOIN_KEYS[view], view))
        return found

    def read(self, entity_id: str) -> None:
        """Read an entity online through every service, now."""
        for name, key, _ in self.readers:
            service = self.feast.get_feature_service(name)
            row = self.feast.get_online_features(features=service, entity_rows=[{key: entity_id}]).to_dict()
            values = {name: column[0] for name, column in row.items() if name != key}
            self.reads.append((name, entity_id, self.logged.clock.now_ms, values))

    def join(self, service_name: str, key: str, moments: list[tuple[str, int]]) -> list[dict[str, Any]]:
        """Return Feast's point-in-time rows of (entity, time), in that order."""
        frame = pd.DataFrame(
            {
                key: [entity_id for entity_id, _ in moments],
                "event_timestamp": pd.to_datetime([time_ms for _, time_ms in moments], unit="ms", utc=True),
            }
        )
        service = self.feast.get_feature_service(service_name)
        rows = self.feast.get_historical_features(entity_df=frame, features=service).to_arrow().to_pylist()
        found = {(row.pop(key), round(row.pop("event_timestamp").timestamp() * 1000)): row for row in rows}
        return [found[moment] for moment in moments]


@pytest.fixture
def past(redis_client: Any, redis_address: str, app: AppConfig, tmp_path: Path) -> Iterator[Past]:
    """An applied store with nothing in it."""
    endpoints = Endpoints(kafka="127.0.0.1:1", redis=redis_address, model_store="", state=str(tmp_path))
    feast = open_store(endpoints, app)
    # The server's 30 ms are not what is tested here, and a busy machine breaks them.
    feast.config.online_store.connection_string = redis_address
    apply_features(feast, app.features)
    logged = LoggedStore(redis_client, tmp_path / LOG_FOLDER, Clock(), project=feast_project(app))
    yield Past(feast, logged, [])
    logged.crash()


def rows_of(entity_id: str, number: int) -> list[FeatureRow]:
    """A row of every view, different for every number; every fifth deletes."""
    values = {
        "user_activity": history_value(entity_id, [(f"i{n}", n, f"e{n}") for n in range(number % 4)]),
        "user_exposure": shown_value(entity_id, [("ü", number), ("i2", 5)]),
        "item_activity": counter_value(entity_id, number + 0.5),
        "item_exposure": exposure_value(entity_id, 1.0 * number),
        "global_activity": row_value(entity_id, number),
    }
    return [decoded(view, entity_id, None if number % 5 == 4 else value) for view, value in values.items()]


def test_a_past_read_comes_back_exactly(past: Past) -> None:
    """Before the first row, between rows, a millisecond apart, after deletes, over hours and weeks, merged or not."""
    past.read("ada")
    for number, pause_ms in enumerate((5000, 1, 1, 300, HOUR_MS, 0, 1, 60_000, 40 * 24 * HOUR_MS)):
        past.logged.clock.turn(pause_ms)
        past.logged.write(*rows_of("ada" if number != 5 else "bob", number))
        # Two transactions in one millisecond have versions one apart: the clock must reach the second one.
        past.logged.clock.now_ms = max(past.logged.clock.now_ms, past.logged.writer._version_ms)
        for entity_id in ("ada", "bob", "nobody"):
            past.read(entity_id)
    past.logged.flush()
    assert differences(past) == []
    for folder in hour_folders(past.logged.folder):
        list(compact_hour(folder, NOW_MS, grace_ms=10**12))
        list(compact_hour(folder, NOW_MS, grace_ms=-(10**15)))
    assert differences(past) == []


def differences(past: Past) -> list[Any]:
    """Every recorded read that the join does not give again."""
    found = []
    for name, key, _ in past.readers:
        reads = [read for read in past.reads if read[0] == name]
        joined = past.join(name, key, [(entity_id, time_ms) for _, entity_id, time_ms, _ in reads])
        found += [(read, row) for read, row in zip(reads, joined, strict=True) if read[3] != row]
    assert len(past.reads) >= 40
    return found


def test_rows_that_lie_twice_are_read_once(past: Past) -> None:
    """Equal in entity and version, as a crash or merging leaves them for a while."""
    past.logged.write(*rows_of("ada", 1))
    past.read("ada")
    past.logged.flush()
    for part in list(past.logged.folder.glob("*/date=*/hour=*/part-*.parquet")):
        part.with_name(f"{part.stem}-again.parquet").write_bytes(part.read_bytes())
    name, key, _view = past.readers[0]
    (row,) = past.join(name, key, [("ada", NOW_MS)])
    assert row == past.reads[0][3]


def test_a_row_holds_until_the_next_one(past: Past) -> None:
    """However long that takes, as online."""
    past.logged.write(*rows_of("ada", 1))
    past.logged.flush()
    name, key, _view = past.readers[0]
    at_once, years_later = past.join(name, key, [("ada", NOW_MS), ("ada", NOW_MS + 5 * 365 * 24 * HOUR_MS)])
    assert at_once == years_later
    assert None not in at_once.values()


def test_a_view_reads_as_one_table_without_feast(past: Past) -> None:
    """The folder of a view is a plain hive-partitioned data set, hours as columns."""
    import duckdb  # Feast's own; only this test asks it directly.

    past.logged.write(*rows_of("ada", 1), *rows_of("bob", 2))
    past.logged.flush()
    folder = past.logged.folder / FEATURE_TOPICS[0].view
    query = f"select date::varchar, hour::int, count(*) from read_parquet('{folder}') group by all"
    connection: Any = duckdb.connect()
    connection.execute(query)
    found = connection.fetchall()
    at = datetime.fromtimestamp(NOW_MS / 1000, tz=UTC)
    assert found == [(f"{at:%Y-%m-%d}", at.hour, 2)]


def test_the_documented_snippet_runs(
    past: Past, redis_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`docs/history.md`, as a data scientist pastes it, finds ada's row and nothing of bob's."""
    past.logged.clock.now_ms = round(datetime(2026, 9, 21, 14, 30, tzinfo=UTC).timestamp() * 1000)
    past.logged.write(*rows_of("ada", 1))
    past.logged.flush()
    endpoints = Endpoints(kafka="127.0.0.1:1", redis=redis_address, model_store="", state=str(tmp_path))
    (tmp_path / ".headrace").mkdir()
    (tmp_path / ".headrace" / "endpoints.json").write_text(endpoints.model_dump_json())
    (tmp_path / "headrace.yaml").write_text((ROOT / "headrace.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    snippet = (ROOT / "docs" / "history.md").read_text().split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(snippet, found)
    rows = found["rows"].set_index(["user_id", "event_timestamp"]).sort_index().filter(like="event_time_ms")
    assert rows.notna().all(axis=1).tolist() == [False, True, False]
    assert "ada" in capsys.readouterr().out


def test_documented_settings_are_the_shipped_ones() -> None:
    """Every key of the section with its default."""
    table = (ROOT / "docs" / "history.md").read_text().split("## Settings")[1].split("##")[0]
    said = {line.split("`")[1]: line.split("|")[2].strip() for line in table.splitlines() if line.startswith("| `")}
    assert said == {name: f"{value:g}" if value is not True else "true" for name, value in FeatureLogConfig()}
