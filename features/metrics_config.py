"""The `metrics` section of `headrace.yaml`: where each part answers Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from features.config import Endpoints, load_section
from features.strict_config import StrictConfig

MetricsPart = Literal["serving", "ingester", "quality", "trainer", "exporter", "dashboard"]
PARTS: tuple[MetricsPart, ...] = ("serving", "ingester", "quality", "trainer", "exporter", "dashboard")
"""Parts with a port of their own. The exporter tells of what is not ours: Kafka, Flink, Redis, and of the stack."""


class MetricsConfig(StrictConfig):
    """Ports of parts that the endpoints file does not name; guarded as `serving.security` says."""

    host: str = "127.0.0.1"
    """Address of all these ports. Where other machines can reach it, TLS and a token of role `metrics` are needed."""
    serving_port: int = Field(0, ge=0, le=65535)
    """Of a server, 0: off."""
    ingester_port: int = Field(0, ge=0, le=65535)
    """Of the ingester with the feature log, 0: off."""
    quality_port: int = Field(0, ge=0, le=65535)
    """Of the quality job, 0: off."""
    trainer_port: int = Field(0, ge=0, le=65535)
    """Of the trainer, 0: off."""
    exporter_port: int = Field(0, ge=0, le=65535)
    """Of the exporter, 0: off."""
    dashboard_port: int = Field(0, ge=0, le=65535)
    """Of the dashboard, 0: off; the page itself has another."""

    def address(self, part: MetricsPart, endpoints: Endpoints) -> str:
        """Return `host:port` of a part, empty where it answers nobody."""
        port = int(getattr(self, f"{part}_port"))
        return endpoints.metrics.get(part, "") or (f"{self.host}:{port}" if port else "")


def load_metrics_config(path: Path) -> MetricsConfig:
    """Read the `metrics` section.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    return load_section(path, "metrics", MetricsConfig)
