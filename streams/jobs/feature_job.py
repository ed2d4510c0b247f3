"""The feature job: events and served lists become dead letters and feature rows, in one statement set."""

from __future__ import annotations

from collections.abc import Mapping

from features.config import AppConfig
from features.feature_topics import FEATURE_TOPICS
from streams import exposure, item_activity, user_activity
from streams.config import StreamsConfig
from streams.dead_letters import insert_dead_letters
from streams.declared_sql import declared_columns
from streams.events import RAW_TABLES, event_views
from streams.exclusions import NOTHING_EXCLUDED, Exclusions
from streams.job import SqlJob
from streams.kafka_tables import (
    BACKFILL_TOPIC,
    EVENTS_TOPIC,
    SERVED_TOPIC,
    dead_letters_table,
    feature_table,
    feature_topic,
    items_table,
    raw_events_table,
    shown_table,
)
from streams.retention import feature_rules
from streams.token_check import TokenCheck


def feature_job(
    app: AppConfig,
    streams: StreamsConfig,
    bootstrap: str,
    suffix: str = "",
    tokens: TokenCheck | None = None,
    exclusions: Exclusions = NOTHING_EXCLUDED,
) -> SqlJob:
    """Return the job's statements.

    Args:
        app: actions and features.
        streams: settings.
        bootstrap: Kafka's servers.
        suffix: of the topics that it writes and of the job's name, for a job that runs beside the one in use.
        tokens: how feedback must prove that its item was shown; None where it need not.
        exclusions: what it must never have counted.
    """
    group = f"{app.name}-feature-job{suffix}"
    topics = zip(RAW_TABLES, (EVENTS_TOPIC, BACKFILL_TOPIC), strict=True)
    inserts = [
        insert_dead_letters(),
        user_activity.insert_user_activity(app),
        item_activity.insert_item_activity(app),
        exposure.insert_user_exposure(app),
        exposure.insert_item_exposure(app),
    ]
    if item_activity.has_global_features(app):
        inserts.append(item_activity.insert_global_activity(app))
    return SqlJob(
        name=group,
        tables=[
            *(raw_events_table(bootstrap, group, topic, table) for table, topic in topics),
            items_table(bootstrap, group),
            shown_table(bootstrap, group),
            dead_letters_table(bootstrap, streams, suffix),
            *_feature_tables(app, streams, bootstrap, suffix),
        ],
        views=[
            *event_views(app, tokens=tokens, excluded=exclusions.of_events()),
            *user_activity.user_views(app),
            *exposure.exposure_views(app, exclusions.of_users("`served_time_ms`")),
        ],
        inserts=inserts,
        state_rules=feature_rules(app),
        inputs=(EVENTS_TOPIC, BACKFILL_TOPIC, SERVED_TOPIC),
        outputs=[feature_topic(topic.view, suffix) for topic in FEATURE_TOPICS],
    )


def _feature_tables(app: AppConfig, streams: StreamsConfig, bootstrap: str, suffix: str) -> list[str]:
    """Declare a topic per view; few items and the one global row have most of the events, so their rows are folded."""
    views: list[tuple[str, str, bool, Mapping[str, str]]] = [
        (user_activity.VIEW, user_activity.user_activity_columns(app), False, user_activity.PACKED),
        (item_activity.VIEW, item_activity.item_activity_columns(app), True, {}),
        (exposure.USER_VIEW, exposure.USER_COLUMNS, False, {}),
        (exposure.ITEM_VIEW, exposure.ITEM_COLUMNS, True, {}),
    ]
    if item_activity.has_global_features(app):
        views.append((item_activity.GLOBAL_VIEW, declared_columns(app.features.declared, "global"), True, {}))
    return [
        feature_table(bootstrap, streams, view, columns, folds, suffix, packed)
        for view, columns, folds, packed in views
    ]
