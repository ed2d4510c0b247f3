"""The feature job: events become dead letters, counters, category affinity and histories, in one statement set."""

from __future__ import annotations

from features.config import AppConfig
from streams import counters, histories, user_categories
from streams.config import StreamsConfig
from streams.dead_letters import insert_dead_letters
from streams.events import RAW_TABLES, event_views
from streams.job import SqlJob
from streams.kafka_tables import (
    BACKFILL_TOPIC,
    EVENTS_TOPIC,
    dead_letters_table,
    feature_table,
    items_table,
    raw_events_table,
)
from streams.retention import feature_rules


def feature_job(app: AppConfig, streams: StreamsConfig, bootstrap: str) -> SqlJob:
    """Return the job's statements."""
    group = f"{app.name}-feature-job"
    topics = zip(RAW_TABLES, (EVENTS_TOPIC, BACKFILL_TOPIC), strict=True)
    tables = [
        *(raw_events_table(bootstrap, group, topic, table) for table, topic in topics),
        items_table(bootstrap, group),
        dead_letters_table(bootstrap, streams),
        feature_table(bootstrap, streams, "user_counters", counters.COLUMNS),
        feature_table(bootstrap, streams, "item_counters", counters.COLUMNS),
        feature_table(bootstrap, streams, "user_categories", user_categories.COLUMNS),
        feature_table(bootstrap, streams, "user_history", histories.COLUMNS),
    ]
    views = [
        *event_views(app),
        *counters.counter_views(app, "user"),
        *counters.counter_views(app, "item"),
        *user_categories.category_views(app),
    ]
    inserts = [
        insert_dead_letters(),
        counters.insert_counters(app, "user"),
        counters.insert_counters(app, "item"),
        user_categories.insert_user_categories(app),
        histories.insert_histories(app),
    ]
    return SqlJob(group, tables, views, inserts, feature_rules(app))
