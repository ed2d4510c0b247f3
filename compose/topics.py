"""The topics of the loop, created by command and never by accident: `headrace topics create`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from compose.errors import StackError
from features.config import ConfigError, load_endpoints
from features.kafka_connection import kafka_settings

_KIB, _HOUR_MS = 1024, 3_600_000
_DAY_MS = 24 * _HOUR_MS
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class TopicSpec:
    """One topic."""

    name: str
    partitions: int = 4
    is_compacted: bool = False
    retention_ms: int = 7 * _DAY_MS
    """How long records stay; compacted topics keep the newest record of a key for good."""
    compaction_lag_ms: int = 0
    """How long a record of a compacted topic stays at least, newer ones of its key or not."""
    max_message_bytes: int = 1024 * _KIB
    """Of a record batch, as Kafka counts."""

    def settings(self) -> dict[str, str]:
        """Return the topic's Kafka settings."""
        common = {
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
            "segment.bytes": str(64 * _KIB * _KIB),
        }
        if self.is_compacted:
            return common | {
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.2",
                "min.compaction.lag.ms": str(self.compaction_lag_ms),
                "segment.ms": str(_HOUR_MS),
                "delete.retention.ms": str(_DAY_MS),
            }
        return common | {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


FEATURE_VIEWS = ("user_activity", "user_exposure", "item_activity", "item_exposure", "global_activity")

TOPICS = (
    TopicSpec("headrace.events.v1", max_message_bytes=64 * _KIB),
    TopicSpec("headrace.events.backfill.v1", max_message_bytes=64 * _KIB),
    TopicSpec("headrace.events.dlq.v1", retention_ms=14 * _DAY_MS),
    # Longer than the letters themselves: a marker must not go before its letter.
    TopicSpec("headrace.events.dlq.replayed.v1", retention_ms=15 * _DAY_MS),
    # As long as events: a replay must find the categories of their day, superseded or not. A restarted trainer, too,
    # reads again what it learnt since its checkpoint.
    TopicSpec("headrace.items.v1", is_compacted=True, compaction_lag_ms=7 * _DAY_MS, max_message_bytes=64 * _KIB),
    TopicSpec("headrace.served.v1"),
    TopicSpec("headrace.samples.v1"),
    *(TopicSpec(f"headrace.features.{view}.v1", is_compacted=True) for view in FEATURE_VIEWS),
    TopicSpec("headrace.models.v1", partitions=1, is_compacted=True),
    TopicSpec("headrace.deltas.v1", partitions=1, retention_ms=_DAY_MS),
    TopicSpec("headrace.control.v1", partitions=1, retention_ms=30 * _DAY_MS),
    TopicSpec("headrace.quality.v1", partitions=1, retention_ms=35 * _DAY_MS),
)


def create_topics(bootstrap: str, timeout_s: float = _TIMEOUT_S) -> list[str]:
    """Create the topics that do not exist yet; return their names.

    Raises:
        StackError: the broker does not answer, or refuses a topic.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return _create_missing(bootstrap)
        except KafkaError as error:
            if time.monotonic() > deadline:
                raise StackError(
                    f"Kafka at {bootstrap} did not create the topics within {timeout_s:g} s: {error}"
                ) from error
            time.sleep(0.5)


def _create_missing(bootstrap: str) -> list[str]:
    admin = KafkaAdminClient(**kafka_settings(bootstrap), client_id="headrace-topics", request_timeout_ms=10_000)
    try:
        existing = set(admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in existing]
        if missing:
            admin.create_topics(
                [NewTopic(t.name, t.partitions, 1, topic_configs=t.settings()) for t in missing], timeout_ms=10_000
            )
        return [topic.name for topic in missing]
    except TopicAlreadyExistsError:  # Someone else created one just now: look again.
        return []
    finally:
        admin.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the topics of the stack whose addresses `--endpoints` names."""
    parser = argparse.ArgumentParser(prog="python -m compose.topics", description=__doc__)
    parser.add_argument("--config", type=Path)  # Every part is started with it; topics do not depend on it.
    parser.add_argument("--endpoints", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        created = create_topics(load_endpoints(options.endpoints).kafka_servers)
    except (ConfigError, StackError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else error.exit_code
    print(f"{len(created)} topics created, {len(TOPICS) - len(created)} were there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
