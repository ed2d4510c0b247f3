"""Run the exporter: `python -m compose.exporter --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from compose.exporter.flink_metrics import FlinkMetrics
from compose.exporter.kafka_metrics import KafkaMetrics
from compose.exporter.redis_metrics import RedisMetrics
from compose.exporter.stack_metrics import StackMetrics
from features.config import ConfigError, Endpoints, load_endpoints
from features.errors import StartupError
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.security.config import load_security_config
from features.security.metrics_port import start_part_metrics


def collectors_of(endpoints: Endpoints) -> list[FlinkMetrics | KafkaMetrics | RedisMetrics | StackMetrics]:
    """Return what is told: of Kafka, Flink, Redis and the stack."""
    return [
        KafkaMetrics(endpoints.kafka_servers),
        FlinkMetrics(endpoints.flink),
        RedisMetrics(endpoints.redis_server),
        StackMetrics(Path(endpoints.state)),
    ]


def main() -> int:
    """Tell until SIGTERM. Exit codes: 0 stopped, 2 bad configuration."""
    parser = argparse.ArgumentParser(prog="python -m compose.exporter", description="Kafka, Flink, Redis -> metrics.")
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="addresses, as `headrace up` writes them")
    options = parser.parse_args()
    set_up_logs("exporter", options.config)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # It logs every try to connect; `headrace_kafka_up` says it.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        endpoints = load_endpoints(options.endpoints)
        address = load_metrics_config(options.config).address("exporter", endpoints)
        if not address:
            print("no port: set metrics.exporter_port in headrace.yaml, or metrics.exporter in the endpoints file")
            return 2
        security = load_security_config(options.config)
        port = start_part_metrics(address, collectors_of(endpoints), security, Path(endpoints.state))
    except (ConfigError, StartupError) as error:
        print(error, file=sys.stderr)
        return 2
    if port is None:  # Said already: the address is taken.
        return 2
    print("READY exporter", flush=True)
    stop.wait()
    port.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
