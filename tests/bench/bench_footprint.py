"""What users and records take: `python tests/bench/bench_footprint.py [--endpoints .headrace/endpoints.json]`.

Redis: bytes a user, of users with a full history (50 events, 200 shown items, 18 categories), by `INFO memory` before
and after, in a Redis of its own. Kafka, where `--endpoints` names a running stack: bytes a record of each topic, by the
sizes of its log files over its records, after `headrace demo --keep` for example.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from features.config import Endpoints, load_endpoints  # noqa: E402
from headrace_client import Event  # noqa: E402
from headrace_client.records import complete_event, encode_event  # noqa: E402
from serving.served_log import encode_served  # noqa: E402
from tests.bench.bench_sample_job import LIST_LENGTH, Lists  # noqa: E402
from tests.bench.served_world import NUM_USERS, RedisProcess, fill_users, made_item_ids  # noqa: E402
from tests.running_stack import wait_for  # noqa: E402

RECORD_BYTES = 12
"""What Kafka adds to a record inside a batch, about; a batch of its own adds 61 more."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=Path, help="a running stack, for the sizes of its topics")
    parser.add_argument("--records-only", action="store_true", help="start no Redis")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found: dict[str, float] = {} if options.records_only else {"redis_bytes_a_user": redis_bytes_a_user()}
    found |= encoded_bytes()
    if options.endpoints:
        found |= bytes_a_record(load_endpoints(options.endpoints).kafka)
    for name, figure in found.items():
        print(f"{name:40} {figure:12,.0f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return 0


def encoded_bytes() -> dict[str, float]:
    """Return what an event and a served item take, with the key and Kafka's own bytes of a record."""
    event = Event("user-12345", "item-67890", "click", request_id="r" * 32, context={"page": "home", "device": "phone"})
    key, value = encode_event(complete_event(event))
    lists = Lists("footprint")
    served = sum(len(encode_served(lists.served(number))) + 32 + RECORD_BYTES for number in range(100))
    return {
        "event_bytes": float(len(key) + len(value) + RECORD_BYTES),
        "served_bytes_an_item": served / 100 / LIST_LENGTH,
    }


def redis_bytes_a_user() -> float:
    """Return what a user with full rows takes in Redis, its keys and bookkeeping included."""
    from redis import ConnectionError as NotYetError
    from redis import Redis

    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as redis:
        state, dead = Path(folder) / "state", "127.0.0.1:1"
        state.mkdir()
        endpoints = Endpoints(kafka=dead, redis=redis.address, model_store=str(state / "models"), state=str(state))
        host, _, port = redis.address.partition(":")
        with Redis(host, int(port)) as client:

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except NotYetError:
                    return False

            wait_for(answers, "Redis' first answer")
            empty = float(client.info("memory")["used_memory_dataset"])
            fill_users(endpoints, made_item_ids(20_000))
            return (float(client.info("memory")["used_memory_dataset"]) - empty) / NUM_USERS


def bytes_a_record(bootstrap: str) -> dict[str, float]:
    """Return bytes of log a record of every topic that has any."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.admin import KafkaAdminClient

    admin, consumer = KafkaAdminClient(bootstrap_servers=bootstrap), KafkaConsumer(bootstrap_servers=bootstrap)
    sizes: dict[str, int] = {}
    for folder in admin.describe_log_dirs().log_dirs:
        for topic in folder[2]:
            sizes[topic[0]] = sizes.get(topic[0], 0) + sum(partition[1] for partition in topic[1])
    found: dict[str, float] = {}
    for name, size in sorted(sizes.items()):
        parts = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        first, last = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
        if records := sum(last[part] - first[part] for part in parts):
            found[f"bytes a record of {name}"] = size / records
    admin.close()
    consumer.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
