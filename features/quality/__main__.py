"""The quality job: `python -m features.quality --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from features.config import AppConfig, ConfigError, Endpoints, load_app_config, load_endpoints
from features.errors import StartupError
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.quality.config import QualityConfig, load_quality_config
from features.quality.quality_metrics import QualityMetrics
from features.quality.quality_stats import QualityStats
from features.security.config import load_security_config
from features.security.metrics_port import start_part_metrics

_BACKOFF_S = (0.05, 1.0)


def main(arguments: list[str] | None = None) -> int:
    """Watch until SIGTERM. Exit codes: 0 stopped, 2 bad configuration."""
    parser = argparse.ArgumentParser(prog="python -m features.quality", description="Events -> profiles and holds.")
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    options = parser.parse_args(arguments)
    set_up_logs("quality", options.config)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        app, config = load_app_config(options.config), load_quality_config(options.config)
        endpoints = load_endpoints(options.endpoints)
        address = load_metrics_config(options.config).address("quality", endpoints)
        security = load_security_config(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    if config.enabled:
        stats = QualityStats(Path(endpoints.state) / "quality.json", lambda: time.time_ns() // 1_000_000)
        try:
            port = start_part_metrics(address, [QualityMetrics(stats)], security, Path(endpoints.state), "quality.json")
        except (ConfigError, StartupError) as error:
            print(error, file=sys.stderr)
            return 2
        _watch(app, config, endpoints, stats, stop)
        if port is not None:
            port.stop()
    else:  # The supervisor expects a server: it says so and waits.
        logging.getLogger(__name__).info("quality.enabled is false: nothing is watched, nothing is held")
        _say_ready()
        stop.wait()
    return 0


def _watch(
    app: AppConfig, config: QualityConfig, endpoints: Endpoints, stats: QualityStats, stop: threading.Event
) -> None:
    """Connect and run."""
    from features.quality.job import QualityJob  # Kafka and safetensors only where they are used.
    from features.quality.memory_file import MemoryFile
    from features.quality.quality_log import connect

    first_s, most_s = _BACKOFF_S
    log = connect(endpoints.kafka_servers, stop, lambda attempt: min(first_s * 2.0 ** min(attempt, 16), most_s))
    if log is None:
        return
    state = Path(endpoints.state)
    memory_file = MemoryFile(state / "quality" / "memory.safetensors")
    QualityJob(app, config, log, memory_file, stats, stop, _say_ready).run()
    log.close()


def _say_ready() -> None:
    print("READY quality", flush=True)


if __name__ == "__main__":
    sys.exit(main())
