"""The feature catalogue: every column that travels, from the configuration, as Markdown."""

from __future__ import annotations

from features.config import AppConfig
from features.declared_features import OF_VALUES, DeclaredFeature, of_entity
from features.feature_topics import FEATURE_TOPICS, FeatureTopic
from features.model_inputs import declared_names, feature_schema_hash, item_service, ranker_input_names, user_service

MEANINGS = {
    "user_counters": "events, positives and negatives of the user, decayed at each half-life",
    "user_history_item_ids": "items of the newest events by (event_time_ms, event_id), newest first",
    "user_history_actions": "their actions",
    "user_history_times_ms": "their times",
    "user_history_outcomes": "1 positive, 0 neutral, -1 negative",
    "user_category_names": "categories of the user's items, newest epoch, then most events, first",
    "user_category_counts": "events, positives and negatives of each, decayed at the longest half-life",
    "user_activity_event_time_ms": "newest event time in the row",
    "user_shown_item_ids": "the newest items on the user's lists, newest first, an item as often as it was shown",
    "user_shown_times_ms": "when each of them was shown",
    "user_exposure_event_time_ms": "newest served time in the row",
    "item_counters": "events, positives and negatives of the item, decayed at each half-life",
    "item_activity_event_time_ms": "newest event time in the row",
    "item_exposure": "lists, expected clicks (1 / length of the list) and clicks on lists, decayed at each half-life",
    "item_exposure_event_time_ms": "newest time in the row",
    "global_activity_event_time_ms": "newest event time in the row",
}
"""Columns that every app has."""


def catalogue(app: AppConfig) -> str:
    """Return the catalogue of an app as Markdown."""
    features = app.features
    spans = ", ".join(f"{seconds:.12g} s" for seconds in features.half_lives_s)
    parts = [
        f"# Features of {app.name}",
        f"Made by `headrace features catalogue` from the configuration; schema `{feature_schema_hash(features)}`, "
        f"services `{user_service(features)}` and `{item_service(features)}`. Half-lives: {spans}. Counters are raw "
        "sums of two time epochs; `features/counter_rows.py` and `features/declared_values.py` decay them to now.",
        *(_view(app, topic) for topic in FEATURE_TOPICS),
        _inputs(app),
    ]
    return "\n\n".join(parts) + "\n"


def describe(feature: DeclaredFeature) -> str:
    """Say in a phrase what a declared feature is."""
    of_values = " of values" if feature.aggregation in OF_VALUES else ""
    of = f" of {feature.of}" if feature.of else of_values
    share = f" of {', '.join(feature.positives)}" if feature.positives else ""
    events = f"events {', '.join(feature.actions)}" if feature.actions else "all events"
    where = f" where {feature.when}" if feature.when else ""
    span = ""
    if feature.half_lives_s:
        span = f", decayed with half-lives {', '.join(f'{s:.12g} s' for s in feature.half_lives_s)}"
    elif feature.window_s:
        span = f", in the last {feature.window_s:.12g} s"
    meaning = f"{feature.aggregation.replace('_', ' ')}{of}{share} over {events}{where}{span}{_reading(feature)}"
    meaning = f"{feature.description.rstrip('.')}: {meaning}" if feature.description else meaning
    return " ".join(meaning.split()).replace("|", "\\|")  # It stands in a table.


def _reading(feature: DeclaredFeature) -> str:
    """Say what readers make of the numbers, as far as the declaration decides it."""
    scale = f", in units of {feature.scale:.12g}" if feature.scale != 1.0 else ""
    if feature.aggregation == "ratio":
        return f", prior {feature.prior:.12g} worth {feature.prior_strength:.12g} events"
    if feature.aggregation == "mean":
        return f", drawn towards 0 by {feature.prior_strength:.12g} events{scale}"
    return f", approximate (standard error 4.6 %){scale}" if feature.aggregation == "distinct" else scale


def _view(app: AppConfig, topic: FeatureTopic) -> str:
    declared = of_entity(app.features.declared, topic.entity)
    rows = [
        f"| `{name}` | {kind.replace('_', ' ')} | {_meaning(name, declared)} |"
        for name, kind in topic.fields_of(app.features).items()
    ]
    head = (
        f"## {topic.view}\n\nTopic `{topic.topic}`, key {topic.join_key}.\n\n| column | type | meaning |\n|---|---|---|"
    )
    return "\n".join([head, *rows])


def _meaning(name: str, declared: dict[str, DeclaredFeature]) -> str:
    return (
        f"declared: {describe(declared[name])} ({declared[name].width} numbers)" if name in declared else MEANINGS[name]
    )


def _inputs(app: AppConfig) -> str:
    declared = {name for entity in ("item", "user", "global") for name in declared_names(app.features, entity)}
    names = ranker_input_names(app.features)
    listed = ", ".join(f"**{name}**" if name in declared else name for name in names)
    return f"## Ranker inputs\n\n{len(names)} numbers a candidate, in this order (declared ones in bold): {listed}."
