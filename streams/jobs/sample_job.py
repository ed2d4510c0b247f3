"""The sample job: served lists and events become impressions, corrections and organic samples."""

from __future__ import annotations

from features.config import AppConfig
from streams.config import StreamsConfig
from streams.events import RAW_TABLES, event_views
from streams.job import SqlJob
from streams.kafka_tables import BACKFILL_TOPIC, EVENTS_TOPIC, raw_events_table, samples_table, served_table
from streams.retention import sample_rules
from streams.sample_joiner import insert_samples, sample_views


def sample_job(app: AppConfig, streams: StreamsConfig, bootstrap: str) -> SqlJob:
    """Return the job's statements."""
    group = f"{app.name}-sample-job"
    topics = zip(RAW_TABLES, (EVENTS_TOPIC, BACKFILL_TOPIC), strict=True)
    tables = [
        *(raw_events_table(bootstrap, group, topic, table) for table, topic in topics),
        served_table(bootstrap, group),
        samples_table(bootstrap, streams),
    ]
    return SqlJob(
        name=group,
        tables=tables,
        views=[*event_views(app), *sample_views()],
        inserts=[insert_samples()],
        state_rules=sample_rules(app, streams),
    )
