"""The sample job: served lists and events become impressions, corrections and organic samples, or dead letters."""

from __future__ import annotations

from features.config import AppConfig
from features.label_config import Labels
from streams.config import StreamsConfig
from streams.events import RAW_TABLES, event_views
from streams.job import SqlJob
from streams.kafka_tables import (
    BACKFILL_TOPIC,
    EVENTS_TOPIC,
    SERVED_TOPIC,
    dead_letters_table,
    raw_events_table,
    samples_table,
    samples_topic,
    served_table,
)
from streams.late_feedback import insert_late_feedback, late_feedback_views
from streams.retention import sample_memory_ms, sample_rules
from streams.sample_joiner import feedback_views, insert_samples, sample_views
from streams.token_check import TokenCheck


def sample_job(
    app: AppConfig,
    labels: Labels,
    streams: StreamsConfig,
    bootstrap: str,
    suffix: str = "",
    tokens: TokenCheck | None = None,
) -> SqlJob:
    """Return the job's statements.

    Args:
        app: actions.
        labels: what events teach.
        streams: settings.
        bootstrap: Kafka's servers.
        suffix: of the topics that it writes and of the job's name, for a job that runs beside the one in use.
        tokens: how feedback must prove that its item was shown; None where it need not.
    """
    group = f"{app.name}-sample-job{suffix}"
    topics = zip(RAW_TABLES, (EVENTS_TOPIC, BACKFILL_TOPIC), strict=True)
    tables = [
        *(raw_events_table(bootstrap, group, topic, table) for table, topic in topics),
        served_table(bootstrap, group),
        samples_table(bootstrap, streams, suffix),
        dead_letters_table(bootstrap, streams, suffix),
    ]
    views = [
        *event_views(app, with_origin=True, tokens=tokens),
        *feedback_views(),
        *late_feedback_views(labels),
        *sample_views(labels),
    ]
    return SqlJob(
        name=group,
        tables=tables,
        views=views,
        inserts=[*insert_samples(), insert_late_feedback()],
        state_rules=sample_rules(app, labels),
        inputs=(EVENTS_TOPIC, BACKFILL_TOPIC, SERVED_TOPIC),
        outputs=(samples_topic(suffix),),
        remembers_ms=sample_memory_ms(app, labels),
    )
