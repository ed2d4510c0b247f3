"""Run the trainer: `python -m trainer --config headrace.yaml --endpoints endpoints.json`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from features.blas_threads import limit_blas_threads
from features.config import AppConfig, ConfigError, Endpoints, load_app_config, load_endpoints, load_section
from features.errors import StartupError
from features.label_config import Labels, load_labels
from features.logs import set_up_logs
from features.metrics_config import load_metrics_config
from features.model_store_config import ModelStoreConfig
from features.quality.config import load_quality_config
from features.security.config import load_security_config
from features.security.metrics_port import start_part_metrics
from trainer.config import TrainerConfig
from trainer.errors import CheckpointError, FencedError, StateBusyError
from trainer.state_lock import lock_state
from trainer.trainer_metrics import TrainerMetrics
from trainer.version_store import VersionStore, open_versions

if TYPE_CHECKING:
    from trainer.sample_log import SampleLog

_BACKOFF_S = (0.1, 2.0)
_LOCK_WAIT_S = 10.0
"""For the trainer before this one to end: SIGTERM ends it within that."""

_EPILOG = """\
A start reads the newest good checkpoint, repeats the batch log behind it bit for bit, and goes on live in a new epoch.

below the stack's state directory:
  trainer/checkpoints/   the last few states (trainer.keep_checkpoints); bad-* were refused
  trainer/batch_log/     which records were learnt in which batches since; *.damaged could not be followed
  trainer.json           status: lag, gaps, checkpoints, batch_log, replay, holds
  trainer.prom           the numbers for alarms, for a Prometheus textfile collector
snapshots go to model_store.uri of headrace.yaml (/a/directory or s3://bucket/prefix, docs/publishing.md), else to
model_store of the endpoints file

exit codes: 0 stopped, 2 bad configuration, no checkpoint that verifies, or another trainer on this state
docs/exactness.md says what is exact, and what is told where it cannot be.
"""

logger = logging.getLogger("trainer")


def main() -> int:
    """Learn until SIGTERM. Exit codes: 0 stopped, 2 bad configuration, no usable checkpoint, another trainer."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Samples -> model versions. Runs until SIGTERM.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, help="headrace.yaml")
    parser.add_argument("--endpoints", type=Path, required=True, help="endpoints.json of the running stack")
    options = parser.parse_args()
    set_up_logs("trainer", options.config)
    logging.getLogger("kafka").setLevel(logging.ERROR)  # It logs every reconnect attempt; we say it once.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        app = load_app_config(options.config)
        labels = load_labels(options.config, app)
        config = load_section(options.config, "trainer", TrainerConfig)
        endpoints = load_endpoints(options.endpoints)
        quality = load_quality_config(options.config)
        where = load_section(options.config, "model_store", ModelStoreConfig)
        address = load_metrics_config(options.config).address("trainer", endpoints)
        security = load_security_config(options.config)
        store = open_versions(where.uri_of(endpoints), app.name, where)
        with _locked(Path(endpoints.state) / "trainer"):
            metrics = TrainerMetrics()
            port = start_part_metrics(address, [metrics], security, Path(endpoints.state), "trainer.json")
            _train(app, labels, config, endpoints, store, stop, quality.enabled, metrics)
            if port is not None:
                port.stop()
    except FencedError as error:
        print(error, file=sys.stderr)
        return 3
    except (ConfigError, StartupError, CheckpointError, StateBusyError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _locked(directory: Path) -> IO[str]:
    try:
        return lock_state(directory, _LOCK_WAIT_S)
    except OSError as error:
        raise ConfigError(
            f"{directory} cannot be written ({error.strerror}); mend that, or name another state"
        ) from error


def _train(
    app: AppConfig,
    labels: Labels,
    config: TrainerConfig,
    endpoints: Endpoints,
    store: VersionStore,
    stop: threading.Event,
    follows_quality: bool,
    metrics: TrainerMetrics,
) -> None:
    """Restore, connect, run."""
    # Imported here: torch takes seconds, a mistake in the configuration is told at once.
    import torch

    from trainer.hold_log import HoldLog
    from trainer.holds import Holds
    from trainer.online_learner import OnlineLearner
    from trainer.startup import Places, Startup, device_of
    from trainer.version_topics import KafkaVersionTopics
    from trainer.warm_up import warm_up_trainer

    torch.set_num_threads(config.num_threads)
    limit_blas_threads(config.num_threads)
    warm_up_trainer()
    places = Places(Path(endpoints.state), store)
    ready = threading.Event()

    def live() -> bool:
        """Be one trainer from its start to its end; return whether another is to go on behind a rejection."""
        device = device_of(config)
        learner = OnlineLearner(app, config.learner, device, labels=labels, slices=config.slices, gate=config.gate)
        hold_log = HoldLog(endpoints.kafka_servers, follows_quality)
        startup = Startup(learner, config, places, Holds(app.name, hold_log), metrics)
        log = _connect_log(endpoints, config, stop)
        if log is None:
            return False
        topics = KafkaVersionTopics(endpoints.kafka_servers, app.name)
        trainer = startup.open_trainer(log, topics, stop.is_set)
        if trainer is not None:
            trainer.run(stop.is_set, lambda: _say_ready(ready), catch_up_first=startup.is_anew)
        else:
            log.close()
        hold_log.close()
        topics.close()
        return trainer is not None and trainer.wants_restart

    while live():
        logger.warning("starting again from the checkpoint that the rejection or purge goes back to")


def _say_ready(ready: threading.Event) -> None:
    if not ready.is_set():
        print("READY trainer", flush=True)
    ready.set()


def _connect_log(endpoints: Endpoints, config: TrainerConfig, stop: threading.Event) -> SampleLog | None:
    """Return the log, or None when stopped before broker and topics were there."""
    from kafka.errors import KafkaError

    from trainer.sample_log import SampleLog

    pause_s, has_said = _BACKOFF_S[0], False
    while not stop.is_set():
        log: SampleLog | None = None
        try:
            log = SampleLog(endpoints.kafka_servers, config.max_batch_records)
            if log.find_topics():
                return log
            reason: object = "the topics do not exist; `headrace topics create` makes them"
        except (KafkaError, OSError) as error:
            reason = error
        if log is not None:
            log.close()
        if not has_said:
            logger.warning("no samples at %s yet (%s); trying again", endpoints.kafka_servers, reason)
            has_said = True
        stop.wait(pause_s)
        pause_s = min(2 * pause_s, _BACKOFF_S[1])
    return None


if __name__ == "__main__":
    sys.exit(main())
