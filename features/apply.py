"""Register entities, views and services in Feast: `python -m features.apply --config FILE --endpoints FILE`.

The list below is the registry: nothing is scanned, what is not in it leaves the registry. Redis is not touched.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

from feast import FeatureStore, FeatureView, Project
from feast.repo_contents import RepoContents

from features.config import ConfigError, FeaturesConfig, load_app_config, load_endpoints
from features.entities import item, scope, user
from features.errors import FeatureChangedError, FeatureLogError
from features.feature_fields import DEFINITION, HALF_LIVES, RETIRED
from features.feature_log_columns import log_layouts
from features.feature_log_files import LOG_FOLDER, prepare_views
from features.item_views import global_activity, item_activity, item_exposure
from features.services import ranker_services
from features.store import open_store
from features.user_views import user_activity, user_exposure

ENTITIES = (user, item, scope)
VIEWS = (user_activity, user_exposure, item_activity, item_exposure, global_activity)


def apply_features(store: FeatureStore, features: FeaturesConfig) -> list[str]:
    """Bring the registry in line with the list above and return one line per change; none when it was already so.

    Raises:
        FeatureChangedError: a declared feature would change its meaning, or leave a service that is in use.
        FeatureLogError: the feature log holds a field of a view with another type.
    """
    Path(store.config.registry.path).parent.mkdir(parents=True, exist_ok=True)
    views = [_bound_view(make_view(features), Path(store.config.repo_path)) for make_view in VIEWS]
    for view in views:
        view.tags = {**view.tags, HALF_LIVES: _half_lives(features)}
    services = ranker_services(features, {view.name: view for view in views})
    _check_meanings(store, views, [service.name for service in services])
    _remember_retired(store, views)
    prepare_views(Path(store.config.repo_path) / LOG_FOLDER, log_layouts(features).values())
    contents = RepoContents(
        projects=[Project(name=store.project)],
        data_sources=[view.batch_source for view in views],
        feature_views=views,
        on_demand_feature_views=[],
        stream_feature_views=[],
        label_views=[],
        entities=list(ENTITIES),
        feature_services=list(services),
        permissions=[],
    )
    registry_diff, _, _ = store.plan(contents)
    # Feast registers an entity of its own, `__dummy`, and then plans to delete it.
    diffs = [diff for diff in registry_diff.feast_object_diffs if not diff.name.startswith("__")]
    changes = [line for line in map(_describe_change, diffs) if line]
    gone = [diff.current_feast_object for diff in diffs if diff.transition_type.name == "DELETE"]
    if changes:
        store.apply([*ENTITIES, *views, *services], objects_to_delete=gone, partial=False)
    return changes


def check_features(store: FeatureStore, features: FeaturesConfig) -> None:
    """Look whether `apply_features` would take these features beside rows of the ones before; changes nothing.

    Raises:
        FeatureChangedError: as `apply_features`, or counters would have other half-lives than rows that stay.
    """
    views = [make_view(features) for make_view in VIEWS]
    wanted = _half_lives(features)
    for registered in {view.tags.get(HALF_LIVES, wanted) for view in store.list_feature_views()} - {wanted}:
        raise FeatureChangedError(
            f"features.half_lives_s is {wanted}, but rows of those who are silent have {registered}, and would be read "
            "as if they had the new ones; `headrace down` and `up` replay all rows where Kafka still has all events"
        )
    _check_meanings(store, views, [one.name for one in ranker_services(features, {view.name: view for view in views})])


def _check_meanings(store: FeatureStore, views: list[FeatureView], services: list[str]) -> None:
    """Hold declared features to their meaning: one name says one thing, and what a service offers stays in it."""
    wanted = {name: meaning for view in views for name, meaning in _meanings(view).items()}
    in_use = {service.name for service in store.list_feature_services()}.intersection(services)
    known = store.list_feature_views()
    for name, meaning in [pair for view in known for pair in (_retired(view) | _meanings(view)).items()]:
        if wanted.get(name, meaning) != meaning:
            raise FeatureChangedError(
                f"features.declared.{name} means something else than when it was registered; rows of both "
                "meanings would mix: give the new one a new name"
            )
    for name in [name for view in known for name in _meanings(view)]:
        if name not in wanted and in_use:
            raise FeatureChangedError(
                f"features.declared.{name} is gone, but the service {sorted(in_use)[-1]} offers it; declare it "
                "again, or raise features.service_version to leave that service behind"
            )


def _remember_retired(store: FeatureStore, views: list[FeatureView]) -> None:
    """Keep the meaning of what is no longer declared: rows of those who are silent since then still carry it."""
    known = {view.name: _retired(view) | _meanings(view) for view in store.list_feature_views()}
    for view in views:
        current = _meanings(view)
        retired = {name: meaning for name, meaning in known.get(view.name, {}).items() if name not in current}
        if retired:
            view.tags = {**view.tags, RETIRED: json.dumps(retired, sort_keys=True)}


def _half_lives(features: FeaturesConfig) -> str:
    return json.dumps(features.half_lives_s)


def _meanings(view: FeatureView) -> dict[str, str]:
    return {field.name: field.tags[DEFINITION] for field in view.schema if DEFINITION in field.tags}


def _retired(view: FeatureView) -> dict[str, str]:
    return dict(json.loads(view.tags.get(RETIRED, "{}")))


def _describe_change(diff: Any) -> str:
    """Turn one entry of Feast's plan into `create feature view user_activity`; unchanged objects give nothing."""
    verb = diff.transition_type.name.lower()
    if verb == "unchanged":
        return ""
    fields = ", ".join(change.property_name for change in diff.feast_object_property_diffs)
    return f"{verb} {diff.feast_object_type.value} {diff.name}{f' ({fields})' if fields else ''}"


def _bound_view(view: FeatureView, state: Path) -> FeatureView:
    """Return a copy whose batch source is an absolute path: Feast's DuckDB store reads relative ones from anywhere."""
    bound = copy.deepcopy(view)
    bound.batch_source.file_options.uri = str(state / view.batch_source.path)
    return bound


def main(arguments: list[str] | None = None) -> int:
    """Apply and print what changed. Exit codes: 0 done, 2 bad configuration."""
    parser = argparse.ArgumentParser(prog="python -m features.apply", description="Register the features in Feast.")
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    parser.add_argument("--check", action="store_true", help="only say whether it could be done")
    options = parser.parse_args(arguments)
    try:
        app = load_app_config(options.config)
        if options.check:
            check_features(open_store(load_endpoints(options.endpoints), app), app.features)
            print("can be applied")
            return 0
        changes = apply_features(open_store(load_endpoints(options.endpoints), app), app.features)
    except (ConfigError, FeatureChangedError, FeatureLogError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2
    print("\n".join(changes) if changes else "nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
