"""The ingester beside a bare redis-py pipeline of the same HSETs, in one run: `python tests/bench/bench_ingester.py`.

Real Kafka with a backlog of feature rows, real Redis, the real ingester (consumer, writer, log) in this process. The
records are made from the topics' own types: four half-lives, histories up to 50, 200 shown items, 18 categories.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
# Run as a file, so the checkout must be put on the path first. Hence E402 below.
sys.path.insert(0, str(ROOT))

from kafka import KafkaProducer  # noqa: E402
from redis import Redis  # noqa: E402

from compose.local_stack import LocalStack  # noqa: E402
from features.__main__ import connect_consumer, tune_collector  # noqa: E402
from features.config import AppConfig, Endpoints, load_app_config  # noqa: E402
from features.feast_rows import FeastRows, feast_project  # noqa: E402
from features.feature_log import FeatureLog  # noqa: E402
from features.feature_log_files import LOG_FOLDER  # noqa: E402
from features.feature_topics import FEATURE_TOPICS, FeatureTopic, num_counters  # noqa: E402
from features.ingester import Ingester  # noqa: E402
from features.ingester_stats import IngesterStats  # noqa: E402
from features.online_writer import OnlineWriter, clock_ms  # noqa: E402
from tests.features.feature_records import packed  # noqa: E402

CONFIG = ROOT / "headrace.yaml"
PARTS = ("kafka", "redis", "topics", "features-apply")
KINDS = tuple(entry for entry in FEATURE_TOPICS if len(entry.fields) > 1)
"""The views with rows of a usual app: one without any columns of its own is empty unless features are declared."""
_BARE_ROWS = 1000
"""HSETs in one pipeline, as many as the ingester writes in one transaction."""


@dataclass(frozen=True)
class Record:
    """One record of the backlog."""

    entry: FeatureTopic
    key: bytes
    value: bytes


class StopsAfter:
    """Stops the ingester when all records are read and written."""

    def __init__(self, stats: IngesterStats, records: int) -> None:
        self._stats = stats
        self._records = records

    def is_set(self) -> bool:
        """Say whether all is done."""
        return self._stats._records >= self._records

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep."""
        time.sleep(timeout or 0)
        return self.is_set()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="records over all feature topics")
    parser.add_argument("--entities", type=int, default=30_000, help="different users and items")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind, in turn; the best counts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    app = load_app_config(CONFIG)
    records = make_records(options.rows, options.entities, num_counters(app.features))
    tune_collector()
    with tempfile.TemporaryDirectory() as folder, LocalStack(CONFIG, Path(folder), parts=PARTS) as stack:
        endpoints = stack.start()
        produce(endpoints, records)
        rounds = [measure(app, endpoints, records) for _ in range(options.rounds)]
    figures = {name: max(found[name] for found in rounds) for name in rounds[0] if name.endswith("per_s")}
    figures |= {name: min(found[name] for found in rounds) for name in rounds[0] if not name.endswith("per_s")}
    print_figures(figures, len(records))
    if options.json:
        options.json.write_text(json.dumps({"best": figures, "rounds": rounds}, indent=2), encoding="utf-8")
    return 0


def measure(app: AppConfig, endpoints: Endpoints, records: Sequence[Record]) -> dict[str, float]:
    """Measure the bare pipeline, the ingester without and with its log, one after the other on an empty Redis."""
    host, _, port = endpoints.redis.partition(":")
    figures = {"bare_hsets_per_s": 0.0}
    with Redis(host, int(port)) as client:
        client.flushall()
        figures["bare_hsets_per_s"] = bare_rate(app, client, records)
        for name, is_logged in (("without_log", False), ("with_log", True)):
            client.flushall()
            client.config_resetstat()
            figures |= {
                f"{name}_{key}": value for key, value in ingest(app, endpoints, len(records), is_logged).items()
            }
            figures[f"{name}_exec_mean_ms"] = client.info("commandstats")["cmdstat_exec"]["usec_per_call"] / 1000
    return figures


def ingest(app: AppConfig, endpoints: Endpoints, num_records: int, is_logged: bool) -> dict[str, float]:
    """Run the ingester over the whole backlog; return rates of wall and CPU time."""
    host, _, port = endpoints.redis.partition(":")
    log = FeatureLog(Path(endpoints.state) / LOG_FOLDER, app.features, clock_ms) if is_logged else None
    writer = OnlineWriter(Redis(host, int(port)), FeastRows(feast_project(app)), app.name, 2000, "c", journal=log)
    stats = IngesterStats(Path(endpoints.state) / "ingester.json", clock_ms, log.summary if log else dict)
    consumer = connect_consumer(endpoints, threading.Event())
    started: list[float] = []

    def start() -> None:
        gc.collect()
        started.extend((time.perf_counter(), time.process_time()))

    ingester = Ingester(consumer, writer, app.features, stats, StopsAfter(stats, num_records), start, log)
    ingester.run()
    wall_s, cpu_s = time.perf_counter() - started[0], time.process_time() - started[1]
    consumer.close()
    written = stats._rows.total()
    return {
        "rows_per_s": num_records / wall_s,
        "hsets_per_s": written / wall_s,
        "cpu_us_a_row": cpu_s / num_records * 1e6,
    }


def bare_rate(app: AppConfig, client: Any, records: Sequence[Record]) -> float:
    """Return the HSETs per second of a plain redis-py pipeline, keys and values made before."""
    rows = FeastRows(feast_project(app))
    decoded = [record.entry.decode(record.key, record.value, 0, app.features) for record in records]
    hashes = [(rows.key(row.view, row.entity_id), rows.mapping(row, 1)) for row in decoded]
    started = time.perf_counter()
    for start in range(0, len(hashes), _BARE_ROWS):
        with client.pipeline(transaction=False) as pipe:
            for key, mapping in hashes[start : start + _BARE_ROWS]:
                pipe.hset(key, mapping=mapping)
            pipe.execute()
    return len(hashes) / (time.perf_counter() - started)


def make_records(num_rows: int, num_entities: int, num_numbers: int) -> list[Record]:
    """Make rows of all topics in turn, entities at random."""
    chance = random.Random(11)
    records = []
    for number in range(num_rows):
        entry = KINDS[number % len(KINDS)]
        entity_id = f"{entry.join_key.removesuffix('_id')}-{chance.randrange(num_entities)}"
        fields: Any = msgspec.inspect.type_info(entry.decoder.type)
        lengths = lengths_of(chance, num_numbers)
        value = {field.encode_name: sample_of(field, lengths, chance) for field in fields.fields}
        value["entity_id"] = entity_id
        records.append(Record(entry, entity_id.encode(), packed(entry, msgspec.json.encode(value))))
    return records


def lengths_of(chance: random.Random, num_numbers: int) -> dict[str, int]:
    """Draw how long the columns of one row are, by the start of their names."""
    categories = chance.randrange(1, 19)
    lengths = {"counters": num_numbers, "exposure": num_numbers, "history": chance.randrange(1, 51)}
    return lengths | {
        "shown": chance.randrange(1, 201),
        "category_names": categories,
        "category_counts": 7 * categories,
    }


def sample_of(field: Any, lengths: Mapping[str, int], chance: random.Random) -> Any:
    """Make a column's value as the jobs would send it."""
    kinds = getattr(field.type, "types", (field.type,))
    lists = [kind for kind in kinds if isinstance(kind, msgspec.inspect.ListType)]
    if not lists:
        return clock_ms() if field.name == "event_time_ms" else None
    length = next(length for start, length in lengths.items() if field.name.startswith(start))
    if isinstance(lists[0].item_type, msgspec.inspect.FloatType):
        return [chance.random() * 1e6 for _ in range(length)]
    if isinstance(lists[0].item_type, msgspec.inspect.IntType):
        return [1 if "outcome" in field.name else clock_ms() - chance.randrange(10**8) for _ in range(length)]
    return ["click" if "action" in field.name else f"item-{chance.randrange(20_000)}" for _ in range(length)]


def produce(endpoints: Endpoints, records: Sequence[Record]) -> None:
    """Fill the topics."""
    producer = KafkaProducer(bootstrap_servers=endpoints.kafka, linger_ms=20, batch_size=256 * 1024)
    for record in records:
        producer.send(record.entry.topic, key=record.key, value=record.value)
    producer.flush()
    producer.close()


def print_figures(figures: dict[str, float], num_records: int) -> None:
    """Print the table and the ratio."""
    print(f"{num_records} feature rows, {len(FEATURE_TOPICS)} views")
    print(f"{'bare redis-py pipeline':<32}{figures['bare_hsets_per_s']:>10,.0f} HSETs/s")
    for name in ("without_log", "with_log"):
        print(
            f"{'ingester, ' + name.replace('_', ' '):<32}{figures[f'{name}_rows_per_s']:>10,.0f} rows/s"
            f"{figures[f'{name}_hsets_per_s']:>10,.0f} HSETs/s {figures[f'{name}_cpu_us_a_row']:>6.1f} us CPU a row,"
            f" EXEC {figures[f'{name}_exec_mean_ms']:.1f} ms"
        )
    print(f"ratio={figures['with_log_hsets_per_s'] / figures['bare_hsets_per_s']:.3f}")


if __name__ == "__main__":
    sys.exit(main())
