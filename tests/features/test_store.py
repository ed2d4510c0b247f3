"""The Feast registry: code that stands in one does not run, and what is none is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from feast.protos.feast.core.Registry_pb2 import Registry

from features.apply import apply_features
from features.config import AppConfig, ConfigError, Endpoints, load_app_config
from features.store import open_store
from tests.contracts.pickle_bombs import KINDS, bomb
from tests.running_stack import ROOT


@pytest.fixture(scope="module")
def app() -> AppConfig:
    """That of this repository."""
    return load_app_config(ROOT / "headrace.yaml")


def _registry(folder: Path, content: bytes) -> Endpoints:
    path = folder / "feast" / "registry.db"
    path.parent.mkdir()
    path.write_bytes(content)
    return Endpoints(kafka="", redis="127.0.0.1:1", model_store="", state=str(folder))


def _on_demand(registry: Registry, data: bytes) -> None:
    spec = registry.on_demand_feature_views.add().spec
    spec.name, spec.project, spec.mode = "evil", "headrace", "pandas"
    spec.feature_transformation.user_defined_function.name = "evil"
    spec.feature_transformation.user_defined_function.body = data


def _stream(registry: Registry, data: bytes) -> None:
    spec = registry.stream_feature_views.add().spec
    spec.name, spec.project, spec.mode = "evil", "headrace", "pandas"
    spec.user_defined_function.name, spec.user_defined_function.body = "evil", data


def _batch(registry: Registry, data: bytes) -> None:
    spec = registry.feature_views.add().spec
    spec.name, spec.project = "evil", "headrace"
    spec.feature_transformation.user_defined_function.name = "evil"
    spec.feature_transformation.user_defined_function.body = data


@pytest.mark.parametrize("add", [_on_demand, _stream, _batch])
def test_registry_with_code_is_refused(add: Callable[[Registry, bytes], None], app: AppConfig, tmp_path: Path) -> None:
    """Feast would unpickle the functions that stand in it; ours are none."""
    marker, registry = tmp_path / "marker", Registry()
    add(registry, bomb("pickle", marker))
    endpoints = _registry(tmp_path, registry.SerializeToString())
    with pytest.raises(ConfigError, match=r"registry\.db holds code \(evil\)"):
        apply_features(open_store(endpoints, app), app.features)
    assert not marker.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_registry_that_is_none_is_refused(kind: str, app: AppConfig, tmp_path: Path) -> None:
    """With the way to mend it."""
    marker = tmp_path / "marker"
    endpoints = _registry(tmp_path, bomb(kind, marker))
    with pytest.raises(ConfigError, match=r"cannot use the Feast registry .*registry\.db.* makes it anew"):
        open_store(endpoints, app)
    assert not marker.exists()
