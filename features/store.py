"""One Feast store for the apply command, the ingester and the server, built from the endpoints file."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

import yaml
from feast import FeatureStore, RepoConfig

from features.config import AppConfig, Endpoints
from features.feast_rows import feast_project

_TEMPLATE = Path(__file__).with_name("feature_store.yaml")


def open_store(endpoints: Endpoints, app: AppConfig) -> FeatureStore:
    """Open the Feast store of the running stack; nothing is connected until the first read or write.

    The same as `FeatureStore(fs_yaml_file=features/feature_store.yaml)` with its two variables set.
    """
    state = Path(endpoints.state).absolute()
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        HEADRACE_STATE=str(state), HEADRACE_REDIS=endpoints.redis
    )
    settings: dict[str, Any] = yaml.safe_load(text)
    settings["project"] = feast_project(app)
    # Relative source paths in the views are below the state directory.
    return FeatureStore(repo_path=str(state), config=RepoConfig(repo_path=state, **settings))
