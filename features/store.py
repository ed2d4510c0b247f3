"""One Feast store for the apply command, the ingester and the server, built from the endpoints file."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

import yaml
from feast import FeatureStore, RepoConfig
from feast.protos.feast.core.Registry_pb2 import Registry
from google.protobuf.message import DecodeError

from features.config import AppConfig, ConfigError, Endpoints
from features.feast_rows import feast_project
from features.redis_connection import feast_options

_TEMPLATE = Path(__file__).with_name("feature_store.yaml")


def open_store(endpoints: Endpoints, app: AppConfig) -> FeatureStore:
    """Open the Feast store of the running stack; nothing is connected until the first read or write.

    The same as `FeatureStore(fs_yaml_file=features/feature_store.yaml)` with its two variables set.

    Raises:
        ConfigError: its registry cannot be used, or holds code, or Redis' password cannot be read.
    """
    state = Path(endpoints.state).absolute()
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        HEADRACE_STATE=str(state), HEADRACE_REDIS=endpoints.redis
    )
    settings: dict[str, Any] = yaml.safe_load(text)
    try:
        settings["online_store"]["connection_string"] += feast_options(endpoints.redis_server)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"endpoints: cannot read redis_security.password_file ({error}); mend or mount it") from error
    settings["project"] = feast_project(app)
    check_registry(Path(settings["registry"]["path"]))
    # Relative source paths in the views are below the state directory.
    return FeatureStore(repo_path=str(state), config=RepoConfig(repo_path=state, **settings))


def check_registry(path: Path) -> None:
    """Look at a registry before Feast does, which unpickles the functions that stand in one; we declare none.

    Raises:
        ConfigError: it is none, or holds code.
    """
    try:
        registry = Registry.FromString(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, DecodeError) as error:
        raise ConfigError(
            f"cannot use the Feast registry {path} ({error}); delete it, `headrace features apply` makes it anew"
        ) from error
    holders = [*registry.on_demand_feature_views, *registry.stream_feature_views]
    holders += [view for view in registry.feature_views if view.spec.HasField("feature_transformation")]
    if holders:
        names = ", ".join(holder.spec.name for holder in holders)
        raise ConfigError(
            f"the Feast registry {path} holds code ({names}), which Feast would run; features of ours have none: "
            "delete it, `headrace features apply` makes it anew"
        )
