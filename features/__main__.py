"""The ingester: `python -m features --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError
from redis import Redis

from features.column_fingerprint import column_fingerprint
from features.config import AppConfig, ConfigError, Endpoints, load_app_config, load_endpoints
from features.errors import StartupError
from features.feast_rows import FeastRows, feast_project
from features.feature_log import FeatureLog
from features.feature_log_files import LOG_FOLDER
from features.ingester import MAX_POLL_RECORDS, Ingester, backoff_s
from features.ingester_metrics import IngesterMetrics
from features.ingester_stats import IngesterStats
from features.ingester_warm_up import warm_up_ingester
from features.kafka_connection import kafka_settings
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.online_writer import OnlineWriter, clock_ms
from features.record_reader import FeatureConsumer
from features.redis_settings import redis_settings
from features.security.config import load_security_config
from features.security.metrics_port import start_part_metrics

REDIS_TIMEOUT_S = 2.0
"""Of one call. Far above the server's 30 ms: a full transaction on a busy machine must not be cut off."""

_log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Ingest until SIGTERM. Exit codes: 0 stopped, 2 bad configuration."""
    parser = argparse.ArgumentParser(prog="python -m features", description="Feature topics -> Feast online store.")
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    options = parser.parse_args(arguments)
    set_up_logs("ingester", options.config)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    try:
        app, endpoints = load_app_config(options.config), load_endpoints(options.endpoints)
        redis = redis_settings(endpoints.redis_server)
        address = load_metrics_config(options.config).address("ingester", endpoints)
        security = load_security_config(options.config)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = connect_consumer(endpoints, stop)
    if consumer is not None:
        warm_up_ingester()
        tune_collector()
        store = Redis(**redis, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
        ingester = build_ingester(app, endpoints, consumer, store, stop)
        metrics = [IngesterMetrics(ingester.stats)]
        try:
            port = start_part_metrics(address, metrics, security, Path(endpoints.state), "ingester.json")
        except (ConfigError, StartupError) as error:
            print(error, file=sys.stderr)
            return 2
        ingester.run()
        consumer.close()
        if port is not None:
            port.stop()
    return 0


def tune_collector() -> None:
    """Look for garbage in circles less often: rows are made by the thousand, and none of them is in a circle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def connect_consumer(endpoints: Endpoints, stop: threading.Event) -> Any:
    """Return a consumer without a group, or None when stopped before a broker answered."""
    attempt = 0
    while not stop.is_set():
        try:
            return FeatureConsumer(
                **kafka_settings(endpoints.kafka_servers),
                client_id="headrace-ingester",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                fetch_max_wait_ms=100,
                max_poll_records=MAX_POLL_RECORDS,
                metadata_max_age_ms=15_000,
                reconnect_backoff_max_ms=1000,
                bootstrap_timeout_ms=5000,
            )
        except KafkaError as error:
            if attempt == 0:
                _log.warning("no Kafka at %s yet (%s); trying again", endpoints.kafka, error)
            stop.wait(backoff_s(attempt))
            attempt += 1
    return None


def build_ingester(
    app: AppConfig, endpoints: Endpoints, consumer: Any, store: Redis, stop: threading.Event
) -> Ingester:
    """Put the parts together."""
    log = FeatureLog(Path(endpoints.state) / LOG_FOLDER, app.features, clock_ms)
    rows = FeastRows(feast_project(app))
    columns = column_fingerprint(app.features)
    writer = OnlineWriter(store, rows, app.name, app.features.consumed_limit, columns, journal=log)
    stats = IngesterStats(Path(endpoints.state) / "ingester.json", clock_ms, log.summary)
    return Ingester(consumer, writer, app.features, stats, stop, lambda: print("READY ingester", flush=True), log)


if __name__ == "__main__":
    sys.exit(main())
