"""The registry is what the list says, and a stock store reads what the ingester's writer wrote."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from features import apply
from features.apply import VIEWS, apply_features
from features.config import AppConfig, Endpoints
from features.feast_rows import FeastRows, feast_project
from features.feature_topics import FEATURE_TOPICS
from features.model_inputs import item_service, user_service
from features.online_writer import OnlineWriter
from features.store import open_store
from tests.features.conftest import ROOT
from tests.features.feature_records import NOW_MS, counter_value, decoded, history_value, shown_value


@pytest.fixture
def endpoints(tmp_path: Path, redis_address: str) -> Endpoints:
    """A stack of which only Redis runs."""
    return Endpoints(kafka="127.0.0.1:1", redis=redis_address, model_store="", state=str(tmp_path / "state"))


@pytest.fixture
def store(endpoints: Endpoints, app: AppConfig) -> FeatureStore:
    """The applied store."""
    opened = open_store(endpoints, app)
    apply_features(opened, app.features)
    return opened


def test_the_second_apply_changes_nothing(endpoints: Endpoints, app: AppConfig) -> None:
    """The first one names every object it makes."""
    first = apply_features(open_store(endpoints, app), app.features)
    assert {f"create feature view {topic.view}" for topic in FEATURE_TOPICS} <= set(first)
    services = (user_service(app.features), item_service(app.features))
    assert {f"create feature service {service}" for service in services} <= set(first)
    assert apply_features(open_store(endpoints, app), app.features) == []


def test_a_view_that_is_no_longer_listed_leaves_the_registry(
    endpoints: Endpoints, app: AppConfig, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in the list is not registered."""
    monkeypatch.setattr(apply, "VIEWS", VIEWS[:-1])
    changes = apply_features(open_store(endpoints, app), app.features)
    assert changes == [f"delete feature view {FEATURE_TOPICS[-1].view}"] or len(changes) == 2
    registered = {view.name for view in open_store(endpoints, app).list_feature_views()}
    assert registered == {topic.view for topic in FEATURE_TOPICS[:-1]}


def test_a_stock_store_reads_what_the_writer_wrote(
    endpoints: Endpoints, app: AppConfig, store: FeatureStore, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`feature_store.yaml` with its two variables is all that a stock `FeatureStore` needs."""
    rows = [
        decoded("user_activity", "u1", history_value("u1", [("a", 5, "e1"), ("b", 9, "e2")])),
        decoded("user_exposure", "u1", shown_value("u1", [("a", 5)])),
    ]
    writer = OnlineWriter(redis_client, FeastRows(feast_project(app)), app.name, 2000)
    writer.try_claim()
    writer.write_rows(rows, {})
    monkeypatch.setenv("HEADRACE_STATE", endpoints.state)
    monkeypatch.setenv("HEADRACE_REDIS", endpoints.redis)
    stock = FeatureStore(repo_path=endpoints.state, fs_yaml_file=ROOT / "features" / "feature_store.yaml")
    service = stock.get_feature_service(user_service(app.features))
    read = stock.get_online_features(features=service, entity_rows=[{"user_id": "u1"}]).to_dict()
    expected = {name: value for row in rows for name, value in row.fields.items()}
    assert {name: values[0] for name, values in read.items()} == {"user_id": "u1", **expected}


def test_an_unknown_user_reads_as_missing(app: AppConfig, store: FeatureStore) -> None:
    """No error, no default that could pass for a value."""
    service = store.get_feature_service(user_service(app.features))
    read = store.get_online_features(features=service, entity_rows=[{"user_id": "nobody"}]).to_dict()
    assert {name for name, values in read.items() if values[0] is not None} == {"user_id"}


def test_a_deleted_row_reads_as_missing(app: AppConfig, store: FeatureStore, redis_client: Any) -> None:
    """A null value on the topic takes the old values away."""
    writer = OnlineWriter(redis_client, FeastRows(feast_project(app)), app.name, 2000)
    writer.try_claim()
    for value in (counter_value("i1", 2.5), None):
        writer.write_rows([decoded("item_activity", "i1", value)], {})
    service = store.get_feature_service(item_service(app.features))
    read = store.get_online_features(features=service, entity_rows=[{"item_id": "i1"}]).to_dict()
    assert {name for name, values in read.items() if values[0] is not None} == {"item_id"}


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # ibis, against its own DuckDB.
def test_the_offline_store_answers_before_anything_is_logged(store: FeatureStore) -> None:
    """The batch sources are real (empty) files: a point-in-time join gives missing values, not an error."""
    import pandas as pd  # Only this test needs it.

    entities = pd.DataFrame({"user_id": ["u1"], "event_timestamp": pd.to_datetime([NOW_MS], unit="ms", utc=True)})
    features = ["user_activity:user_activity_event_time_ms"]
    joined = store.get_historical_features(entity_df=entities, features=features).to_df()
    assert math.isnan(joined["user_activity_event_time_ms"].iloc[0])


def test_a_missing_configuration_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, no traceback."""
    code = apply.main(["--config", str(tmp_path / "no.yaml"), "--endpoints", str(tmp_path / "no.json")])
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
