"""An ingester over a list of records, on a real Redis and a real log: `python FILE REDIS_ADDRESS STATE NUM_RECORDS`.

`test_feature_log_kills.py` starts it again and again; each start reads the same list.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from kafka import TopicPartition
from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from features.config import FeaturesConfig
from features.feast_rows import FeastRows
from features.feature_log import FeatureLog
from features.feature_log_config import FeatureLogConfig
from features.feature_log_files import LOG_FOLDER
from features.feature_topics import FEATURE_TOPICS
from features.ingester import Ingester
from features.ingester_stats import IngesterStats
from features.online_writer import OnlineWriter, clock_ms
from tests.fakes import FakeFeatureConsumer
from tests.features.feature_records import Record, counter_value

TOPIC = next(entry for entry in FEATURE_TOPICS if entry.view == "user_activity")
NUM_USERS = 3
FEATURES = FeaturesConfig(feature_log=FeatureLogConfig(flush_s=0.1))


def user_records(num_records: int) -> dict[tuple[str, int], list[Any]]:
    """Rows of a few users in turn; every seventh deletes."""
    records: dict[tuple[str, int], list[Any]] = {TopicPartition(entry.topic, 0): [] for entry in FEATURE_TOPICS}
    for number in range(num_records):
        user_id = f"u{number % NUM_USERS}"
        value = None if number % 7 == 6 else counter_value(user_id, number + 1.0)
        records[TopicPartition(TOPIC.topic, 0)].append(Record(user_id.encode(), value, offset=number))
    return records


def main(address: str, state: Path, num_records: int) -> None:
    """Ingest for good."""
    host, _, port = address.partition(":")
    log = FeatureLog(state / LOG_FOLDER, FEATURES, clock_ms)
    writer = OnlineWriter(Redis(host, int(port)), FeastRows("headrace"), "headrace", 2000, "c", journal=log)
    stats = IngesterStats(state / "ingester.json", clock_ms, log.summary)
    consumer = FakeFeatureConsumer(user_records(num_records), poll_size=2)
    Ingester(consumer, writer, FEATURES, stats, threading.Event(), lambda: None, log).run()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
