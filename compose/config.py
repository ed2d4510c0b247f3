"""The `stack` section of `headrace.yaml`, and the whole file as one typed object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from compose.imports.mapping import MappingConfig, load_mappings
from features.config import AppConfig, ConfigError, StrictConfig, load_app_config, load_section
from features.label_config import load_labels
from features.model_store_config import ModelStoreConfig
from features.quality.config import QualityConfig, load_quality_config
from features.request_token_config import RequestTokensConfig
from serving.config import ServingConfig
from serving.rules import load_rules
from streams.config import StreamsConfig
from trainer.config import TrainerConfig

_JOBS = 2


class PortsConfig(StrictConfig):
    """Ports of `--ports default`; `--ports auto` takes free ones instead. All on 127.0.0.1."""

    kafka: int = Field(9092, ge=1, le=65535)
    """Clients' listener of the broker."""
    kafka_controller: int = Field(9093, ge=1, le=65535)
    """KRaft listener of the same node."""
    redis: int = Field(6379, ge=1, le=65535)
    """Online store."""
    flink_rest: int = Field(8081, ge=1, le=65535)
    """REST and web page of the JobManager."""
    flink_rpc: int = Field(6123, ge=1, le=65535)
    """What the TaskManagers speak to the JobManager."""
    serving: int = Field(50051, ge=1, le=65535)
    """Recommender."""
    admin: int = Field(50052, ge=1, le=65535)
    """ModelAdmin."""
    metrics_serving: int = Field(9401, ge=1, le=65535)
    """Prometheus' port of the server."""
    metrics_ingester: int = Field(9402, ge=1, le=65535)
    """Of the ingester with the feature log."""
    metrics_quality: int = Field(9403, ge=1, le=65535)
    """Of the quality job."""
    metrics_trainer: int = Field(9404, ge=1, le=65535)
    """Of the trainer."""
    metrics_exporter: int = Field(9405, ge=1, le=65535)
    """Of the exporter, which tells of Kafka, Flink, Redis and the stack's own processes."""
    metrics_dashboard: int = Field(9406, ge=1, le=65535)
    """Of the dashboard."""
    dashboard: int = Field(8088, ge=1, le=65535)
    """The page of `headrace dashboard`."""


class StackConfig(StrictConfig):
    """Sizes and times of the local stack; made for 2 cores."""

    ports: PortsConfig = Field(default_factory=PortsConfig)
    """Ports of `--ports default`."""
    kafka_heap_mb: int = Field(512, ge=128)
    """Java heap of the broker."""
    kafka_listeners: dict[Annotated[str, Field(pattern=r"^[a-z]+$")], Annotated[str, Field(pattern=r"^\S+:\d+$")]] = (
        Field(default_factory=dict)
    )
    """Further listeners of the broker on this machine: name -> `host:port` at which its clients come to it, that of a
    proxy or a forwarded port. Plain text, as the first one."""
    jobmanager_heap_mb: int = Field(384, ge=128)
    """Java heap of the JobManager; with metaspace and direct memory it stays below 768 MB."""
    taskmanager_heap_mb: int = Field(512, ge=128)
    """Task heap of each TaskManager, keyed state included; the process stays near 1.2 GB."""
    task_slots: int = Field(4, ge=1)
    """Slots of each TaskManager: both jobs must fit into one of them, so that a standby is a full spare."""
    jvm_compiler: Literal["quick", "full"] = "quick"
    """Java's compiler in Kafka and the TaskManagers. `full` peaks higher, but in a TaskManager it took 43 of the first
    106 CPU seconds (measured), which the trainer and the server on the same two cores miss."""
    taskmanagers: int = Field(2, ge=1, le=8)
    """The second is the standby: a killed TaskManager costs 12 s of silence instead of 42 s (measured)."""
    redis_max_memory_mb: int = Field(512, ge=16)
    """Above it Redis refuses writes instead of dropping rows."""
    start_timeout_s: float = Field(300.0, gt=0)
    """A part that is not ready by then fails the start."""
    stop_timeout_s: float = Field(10.0, gt=0)
    """After SIGTERM; then SIGKILL."""
    restart_backoff_s: float = Field(0.5, gt=0)
    """Before the first restart of a part that died; doubles each time, up to `restart_backoff_max_s`."""
    restart_backoff_max_s: float = Field(10.0, gt=0)
    """Longest pause between two restarts."""


class HeadraceConfig(StrictConfig):
    """The whole `headrace.yaml`, checked before anything starts."""

    app: AppConfig
    """What every part knows about the app."""
    streams: StreamsConfig
    """The Flink jobs."""
    trainer: TrainerConfig
    """The trainer."""
    serving: ServingConfig
    """The server."""
    stack: StackConfig
    """The local stack."""
    imports: dict[str, MappingConfig]
    """Mappings of foreign events files."""
    quality: QualityConfig
    """The quality job."""
    request_tokens: RequestTokensConfig
    """Signed tokens of answers."""
    model_store: ModelStoreConfig
    """Where snapshots are."""


def load_stack_config(path: Path) -> StackConfig:
    """Read the `stack` section.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    return load_section(path, "stack", StackConfig)


def load_headrace_config(path: Path) -> HeadraceConfig:
    """Read and check the whole file, also what two sections must agree on.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    config = HeadraceConfig(
        app=load_app_config(path),
        streams=load_section(path, "streams", StreamsConfig),
        trainer=load_section(path, "trainer", TrainerConfig),
        serving=load_section(path, "serving", ServingConfig),
        stack=load_stack_config(path),
        imports=load_mappings(path),
        quality=load_quality_config(path),
        request_tokens=load_section(path, "request_tokens", RequestTokensConfig),
        model_store=load_section(path, "model_store", ModelStoreConfig),
    )
    load_labels(path, config.app)
    load_rules(path, config.app)
    needed = _JOBS * config.streams.parallelism
    if needed > config.stack.task_slots:
        raise ConfigError(
            f"{path}: stack.task_slots is {config.stack.task_slots}, but streams.parallelism "
            f"{config.streams.parallelism} takes {needed}: two jobs must fit one TaskManager; change one of them"
        )
    return config
