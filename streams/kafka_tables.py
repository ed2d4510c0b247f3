"""Every Kafka topic that the jobs read or write, as Flink tables.

Sources start at the earliest record and go on from the checkpoint. Sinks are at-least-once: exactly-once sinks are
visible only at a checkpoint, and every reader is idempotent by an id or a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.kafka_connection import flink_properties
from streams.config import StreamsConfig
from streams.sql_text import options

EVENTS_TOPIC = "headrace.events.v1"
BACKFILL_TOPIC = "headrace.events.backfill.v1"
ITEMS_TOPIC = "headrace.items.v1"
SERVED_TOPIC = "headrace.served.v1"
SAMPLES_TOPIC = "headrace.samples.v1"
DEAD_LETTERS_TOPIC = "headrace.events.dlq.v1"

WRITTEN_JSON = "headrace-json"
"""Format of samples and letters (java/RowJsonFormat.java): the same JSON as Flink's own, at a third of its cost."""

FEATURE_ROW = "headrace-row"
"""Format of feature rows (java/FeatureRowFormat.java): `FeatureRow` of protos/features.proto."""

FOLDED_KAFKA = "headrace-upsert-kafka"
"""Connector of feature rows (java/FoldedKafka.java): Flink's `upsert-kafka`, changes of one row folded by its age."""

SAMPLE_ITEM_TYPE = (
    "ROW<`item_id` STRING, `position` INT, `propensity` DOUBLE, `row` ARRAY<DOUBLE>, `labels` MAP<STRING, DOUBLE>>"
)
"""protos/samples.proto SampleItem. Served items have no `labels`: declaring the field makes both one SQL type."""

_MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Above Kafka's 1 MiB default: the broker's topic limit must decide, not the client's guess before compression."""

_BATCH_BYTES = 128 * 1024
"""Of one partition. Kafka's default of 16 KiB is five user rows: a backlog would be a request every few of them."""


def raw_events_table(bootstrap: str, group: str, topic: str, table: str) -> str:
    """Declare the undecoded records of an events topic: any bytes pass, null too."""
    return f"""CREATE TEMPORARY TABLE {table} (
  `raw` BYTES,
  `topic` STRING METADATA VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `record_time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
  {options(_source(bootstrap, group, topic) | {"format": "raw"})}
)"""


def items_table(bootstrap: str, group: str) -> str:
    """Declare the categories of items, one row a record; tombstones and broken records are passed over."""
    return f"""CREATE TEMPORARY TABLE item_records (
  `item_id` STRING,
  `categories` ARRAY<STRING>,
  `record_time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
  {options(_source(bootstrap, group, ITEMS_TOPIC) | _lenient_json())}
)"""


def served_table(bootstrap: str, group: str) -> str:
    """Declare served lists (protos/samples.proto Served); broken records are passed over."""
    return f"""CREATE TEMPORARY TABLE served_records (
  `request_id` STRING,
  `user_id` STRING,
  `served_time_ms` BIGINT,
  `feature_schema_hash` STRING,
  `user_row` ARRAY<DOUBLE>,
  `context` MAP<STRING, STRING>,
  `items` ARRAY<{SAMPLE_ITEM_TYPE}>,
  `learn` BOOLEAN,
  `record_time` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `proctime` AS PROCTIME()
) WITH (
  {options(_source(bootstrap, group, SERVED_TOPIC) | _lenient_json())}
)"""


def shown_table(bootstrap: str, group: str) -> str:
    """Declare what counts as exposure of served lists (protos/samples.proto Served); broken records are passed over."""
    return f"""CREATE TEMPORARY TABLE shown_records (
  `request_id` STRING,
  `user_id` STRING,
  `served_time_ms` BIGINT,
  `items` ARRAY<ROW<`item_id` STRING>>,
  `learn` BOOLEAN,
  `proctime` AS PROCTIME()
) WITH (
  {options(_source(bootstrap, group, SERVED_TOPIC) | _lenient_json())}
)"""


def dead_letters_topic(suffix: str = "") -> str:
    """Return the dead-letter topic; a job that reads old events anew must not write their letters again."""
    return DEAD_LETTERS_TOPIC if not suffix else f"headrace.events.dlq{suffix}.v1"


def dead_letters_table(bootstrap: str, streams: StreamsConfig, suffix: str = "") -> str:
    """Declare the dead-letter topic (protos/events.proto DeadLetter); JSON carries `raw` as base64."""
    return f"""CREATE TEMPORARY TABLE dead_letters (
  `raw` BYTES,
  `topic` STRING,
  `partition` INT,
  `offset` BIGINT,
  `reason` STRING,
  `record_time_ms` BIGINT
) WITH (
  {options(_sink(bootstrap, dead_letters_topic(suffix), streams) | {"connector": "kafka", "format": WRITTEN_JSON})}
)"""


def samples_topic(suffix: str = "") -> str:
    """Return the topic of samples; a job that runs beside the one in use writes another."""
    return SAMPLES_TOPIC if not suffix else f"headrace.samples{suffix}.v1"


def samples_table(bootstrap: str, streams: StreamsConfig, suffix: str = "") -> str:
    """Declare the samples topic (protos/samples.proto Sample); absent fields are left out of the JSON."""
    json = {
        "value.format": WRITTEN_JSON,
        f"value.{WRITTEN_JSON}.encode.ignore-null-fields": "true",
        "value.fields-include": "ALL",
    }
    key = {"key.format": "raw", "key.fields": "user_id"}
    return f"""CREATE TEMPORARY TABLE samples (
  `sample_id` STRING,
  `kind` STRING,
  `request_id` STRING,
  `user_id` STRING,
  `feature_schema_hash` STRING,
  `user_row` ARRAY<DOUBLE>,
  `context` MAP<STRING, STRING>,
  `items` ARRAY<{SAMPLE_ITEM_TYPE}>,
  `event_id` STRING,
  `action` STRING,
  `value` DOUBLE,
  `outcome` INT,
  `event_time_ms` BIGINT,
  `served_time_ms` BIGINT,
  `broker_time_ms` BIGINT,
  `label_policy` STRING
) WITH (
  {options(_sink(bootstrap, samples_topic(suffix), streams) | {"connector": "kafka"} | key | json)}
)"""


def feature_topic(view: str, suffix: str = "") -> str:
    """Return the topic of a feature view; `suffix` names rows that are built beside the ones in use (`.next`)."""
    return f"headrace.features.{view}{suffix}.v1"


def feature_table(
    bootstrap: str,
    streams: StreamsConfig,
    view: str,
    columns: str,
    folds: bool,
    suffix: str = "",
    packed: Mapping[str, str] | None = None,
) -> str:
    """Declare the compacted topic of one feature view, its rows keyed by the bare entity id.

    Args:
        bootstrap: Kafka's servers.
        streams: settings of the sinks.
        view: Feast view's name; topic and table are named for it.
        columns: column declarations between `entity_id` and `event_time_ms`.
        folds: whether changes of one row within `streams.row_flush_ms` become one message. Pays where a few keys have
            most of the events; elsewhere copying every row costs more than it saves. Old rows are folded everywhere.
        suffix: of the topic's name, not of the table's: a compiled plan knows the table only.
        packed: columns of BYTES that hold several values, and what packed them.
    """
    folded = {
        "connector": FOLDED_KAFKA,
        "fold.interval": f"{streams.row_flush_ms if folds else 0} ms",
        "fold.old-after": f"{streams.old_row_after_ms} ms",
        "fold.old-interval": f"{streams.old_row_flush_ms} ms",
    }
    formats = {"key.format": "raw", "value.format": FEATURE_ROW}
    if packed:
        formats[f"value.{FEATURE_ROW}.packed"] = ",".join(f"{column}:{kind}" for column, kind in packed.items())
    return f"""CREATE TEMPORARY TABLE {view}_rows (
  `entity_id` STRING,
  {columns},
  `event_time_ms` BIGINT,
  PRIMARY KEY (`entity_id`) NOT ENFORCED
) WITH (
  {options(_sink(bootstrap, feature_topic(view, suffix), streams) | folded | formats)}
)"""


def _source(bootstrap: str, group: str, topic: str) -> dict[str, Any]:
    return {
        "connector": "kafka",
        "topic": topic,
        **flink_properties(bootstrap),
        "properties.group.id": group,
        "scan.startup.mode": "earliest-offset",
    }


def _lenient_json() -> dict[str, Any]:
    return {"format": "json", "json.ignore-parse-errors": "true"}


def _sink(bootstrap: str, topic: str, streams: StreamsConfig) -> dict[str, Any]:
    return {
        "topic": topic,
        **flink_properties(bootstrap),
        "properties.linger.ms": streams.linger_ms,
        "properties.max.request.size": _MAX_REQUEST_BYTES,
        "properties.batch.size": _BATCH_BYTES,
        "sink.delivery-guarantee": "at-least-once",
    }
