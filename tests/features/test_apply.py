"""The registry is what the list says, and a stock store reads what the ingester's writer wrote."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from features import apply
from features.apply import VIEWS, apply_features, check_features
from features.config import AppConfig, Endpoints, FeaturesConfig
from features.declared_features import DeclaredFeature
from features.errors import FeatureChangedError
from features.feast_rows import FeastRows, feast_project
from features.online_writer import OnlineWriter
from features.services import ranker_services
from features.store import open_store
from tests.features.conftest import ROOT
from tests.features.declared import DECLARED, DECLARING, feature
from tests.features.feature_records import (
    NOW_MS,
    categories,
    decoded,
    history,
    item_value,
    shown_value,
    user_value,
)


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


def declaring(version: int = 2, **declared: DeclaredFeature) -> FeaturesConfig:
    """A configuration with these features."""
    return FeaturesConfig(declared=declared, service_version=version)


def test_the_second_apply_changes_nothing(endpoints: Endpoints, app: AppConfig) -> None:
    """The first one names every object it makes."""
    first = apply_features(open_store(endpoints, app), DECLARING)
    views = {view.name: view for view in (make_view(DECLARING) for make_view in VIEWS)}
    assert {f"create feature view {name}" for name in views} <= set(first)
    assert {f"create feature service {one.name}" for one in ranker_services(DECLARING, views)} <= set(first)
    assert apply_features(open_store(endpoints, app), DECLARING) == []


def test_a_view_that_is_no_longer_listed_leaves_the_registry(
    endpoints: Endpoints, app: AppConfig, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in the list is not registered."""
    monkeypatch.setattr(apply, "VIEWS", VIEWS[:4])
    changes = apply_features(open_store(endpoints, app), app.features)
    assert "delete feature view global_activity" in changes
    registered = {view.name for view in open_store(endpoints, app).list_feature_views()}
    assert registered == {make_view(app.features).name for make_view in VIEWS[:4]}


def test_a_changed_meaning_is_refused(endpoints: Endpoints, app: AppConfig, store: FeatureStore) -> None:
    """Rows of both meanings would stand side by side under one name, whatever the version of the service."""
    apply_features(store, declaring(user_views=feature("user", "count", actions=["view"])))
    other = feature("user", "count", actions=["view", "click"])
    for version in (2, 3):
        with pytest.raises(FeatureChangedError, match=r"declared\.user_views means something else.*a new name"):
            apply_features(open_store(endpoints, app), declaring(version, user_views=other))


def test_what_does_not_change_the_meaning_may_change(endpoints: Endpoints, app: AppConfig, store: FeatureStore) -> None:
    """A description, the order of actions, and further features."""
    first = feature("user", "count", actions=["view", "click"])
    apply_features(store, declaring(user_seen=first))
    said = feature("user", "count", actions=["click", "view"], description="Views and clicks.")
    changes = apply_features(
        open_store(endpoints, app), declaring(user_seen=said, item_silence=DECLARED["item_silence"])
    )
    updated = {change.partition(" (")[0] for change in changes}
    assert {"update feature view user_activity", "update feature view item_activity"} <= updated
    view = open_store(endpoints, app).get_feature_view("user_activity")
    assert {field.name: field.description for field in view.features}["user_seen"] == "Views and clicks."


def test_a_feature_leaves_only_with_its_service(endpoints: Endpoints, app: AppConfig, store: FeatureStore) -> None:
    """Readers of a service keep what it offers, until the configuration names the next one."""
    apply_features(store, declaring(user_views=DECLARED["user_views"]))
    with pytest.raises(FeatureChangedError, match=r"user_views is gone, but the service ranker_user_v2 offers it"):
        apply_features(open_store(endpoints, app), declaring())
    changes = apply_features(open_store(endpoints, app), declaring(3))
    assert {"create feature service ranker_user_v3", "delete feature service ranker_user_v2"} <= set(changes)
    assert "user_views" not in {
        field.name for field in open_store(endpoints, app).get_feature_view("user_activity").features
    }


def test_a_name_that_left_keeps_its_meaning(endpoints: Endpoints, app: AppConfig, store: FeatureStore) -> None:
    """Whoever is silent since then has a row with its old numbers: another meaning needs another name for good."""
    apply_features(store, declaring(user_views=DECLARED["user_views"]))
    for version in (3, 4):
        apply_features(open_store(endpoints, app), declaring(version))
    other = feature("user", "count", actions=["click"], window_s=3600)
    assert other.width == DECLARED["user_views"].width
    with pytest.raises(FeatureChangedError, match=r"declared\.user_views means something else.*a new name"):
        apply_features(open_store(endpoints, app), declaring(4, user_views=other))
    changes = apply_features(open_store(endpoints, app), declaring(4, user_views=DECLARED["user_views"]))
    assert "update feature view user_activity" in {change.partition(" (")[0] for change in changes}
    assert apply_features(open_store(endpoints, app), declaring(4, user_views=DECLARED["user_views"])) == []


def test_other_half_lives_are_refused_beside_rows_that_stay(
    endpoints: Endpoints, app: AppConfig, store: FeatureStore
) -> None:
    """By the check of an upgrade; `up` replays every row, and then the new ones are those that are registered."""
    other = FeaturesConfig(half_lives_s=(60.0, 3600.0))
    with pytest.raises(FeatureChangedError, match=r"half_lives_s is \[60.0, 3600.0\], but rows .* have \[600.0"):
        check_features(open_store(endpoints, app), other)
    check_features(open_store(endpoints, app), app.features)
    apply_features(open_store(endpoints, app), other)
    check_features(open_store(endpoints, app), other)


def test_a_refusal_is_one_sentence(
    endpoints: Endpoints, tmp_path: Path, store: FeatureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no traceback, nothing registered."""
    apply_features(store, declaring(user_views=DECLARED["user_views"]))
    path = tmp_path / "endpoints.json"
    path.write_text(endpoints.model_dump_json())
    code = apply.main(["--config", str(ROOT / "headrace.yaml"), "--endpoints", str(path)])
    said = capsys.readouterr().err.strip()
    assert (code, len(said.splitlines())) == (2, 1)
    assert "features.service_version" in said


def test_a_stock_store_reads_what_the_writer_wrote(
    endpoints: Endpoints, app: AppConfig, store: FeatureStore, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`feature_store.yaml` with its two variables is all that a stock `FeatureStore` needs."""
    apply_features(store, DECLARING)
    columns = categories([("Drama", 3, 1.5)]) | history([("b", 9), ("a", 5)])
    activity = user_value("u1", 2.5, **columns, features={"user_views": [7.0, 2.0, 1.0]})
    rows = [
        decoded("user_activity", "u1", activity, config=DECLARING),
        decoded("user_exposure", "u1", shown_value("u1", [("b", 9), ("a", 5)])),
    ]
    writer = OnlineWriter(redis_client, FeastRows(feast_project(app)), app.name, 2000, "c")
    writer.try_claim()
    writer.write_rows(rows, {})
    monkeypatch.setenv("HEADRACE_STATE", endpoints.state)
    monkeypatch.setenv("HEADRACE_REDIS", endpoints.redis)
    stock = FeatureStore(repo_path=endpoints.state, fs_yaml_file=ROOT / "features" / "feature_store.yaml")
    service = stock.get_feature_service("ranker_user_v2")
    read = stock.get_online_features(features=service, entity_rows=[{"user_id": "u1"}]).to_dict()
    expected = {name: value for row in rows for name, value in row.fields.items()}
    assert {name: values[0] for name, values in read.items()} == {"user_id": "u1", **expected}


def test_an_unknown_user_reads_as_missing(store: FeatureStore) -> None:
    """No error, no default that could pass for a value."""
    service = store.get_feature_service("ranker_user_v2")
    read = store.get_online_features(features=service, entity_rows=[{"user_id": "nobody"}]).to_dict()
    assert {name for name, values in read.items() if values[0] is not None} == {"user_id"}


def test_a_deleted_row_reads_as_missing(app: AppConfig, store: FeatureStore, redis_client: Any) -> None:
    """A null value on the topic takes the old values away."""
    writer = OnlineWriter(redis_client, FeastRows(feast_project(app)), app.name, 2000, "c")
    writer.try_claim()
    for value in (item_value("i1", 2.5), None):
        writer.write_rows([decoded("item_activity", "i1", value)], {})
    service = store.get_feature_service("ranker_item_v2")
    read = store.get_online_features(features=service, entity_rows=[{"item_id": "i1"}]).to_dict()
    assert {name for name, values in read.items() if values[0] is not None} == {"item_id"}
    assert "item_counters" in read


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # ibis, against its own DuckDB.
def test_the_offline_store_answers_before_anything_is_logged(store: FeatureStore) -> None:
    """The batch sources are real (empty) files, with the newest columns: missing values, not an error."""
    import pandas as pd  # Only this test needs it.

    entities = pd.DataFrame({"user_id": ["u1"], "event_timestamp": pd.to_datetime([NOW_MS], unit="ms", utc=True)})
    apply_features(store, DECLARING)
    features = ["user_activity:user_activity_event_time_ms", "user_activity:user_views"]
    joined = store.get_historical_features(entity_df=entities, features=features).to_df()
    assert math.isnan(joined["user_activity_event_time_ms"].iloc[0])
    assert joined["user_views"].iloc[0] is None


def test_a_missing_configuration_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, no traceback."""
    code = apply.main(["--config", str(tmp_path / "no.yaml"), "--endpoints", str(tmp_path / "no.json")])
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
