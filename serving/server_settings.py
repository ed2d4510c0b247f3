"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from features.config import AppConfig, Endpoints
from features.model_store_config import ModelStoreConfig
from features.request_token_config import RequestTokensConfig
from serving.config import ServingConfig

QUOTA_FILE = "quotas"
"""Beside the sockets of a server's workers."""


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with."""

    app: AppConfig
    serving: ServingConfig
    endpoints: Endpoints
    address: str
    admin_address: str = ""
    """Empty: no ModelAdmin."""
    metrics_address: str = ""
    """Prometheus' `host:port`; empty: nobody is answered."""
    name: str = "serving"
    """Names the status and order files, so that servers can share a state directory."""
    rules_path: Path | None = None
    """`headrace.yaml`, whose rules are followed; None for no rules."""
    request_tokens: RequestTokensConfig = field(default_factory=RequestTokensConfig)
    """Whether answers are signed."""
    model_store: ModelStoreConfig = field(default_factory=ModelStoreConfig)
    """Where snapshots are, and how they are reached."""
    is_worker: bool = False
    """Whether this is one of several processes on one port, whose parent tells of them (`serving/workers`)."""
    quota_path: Path | None = None
    """File of the quotas' buckets that several workers share; None for buckets of this process alone."""

    @property
    def state_dir(self) -> Path:
        """Where status, orders and tokens are."""
        return Path(self.endpoints.state)
