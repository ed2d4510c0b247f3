"""The `serving` section of `headrace.yaml`."""

from __future__ import annotations

from pydantic import Field

from features.config import StrictConfig


class ServingConfig(StrictConfig):
    """Addresses, budgets and bounds of one server process."""

    address: str = "127.0.0.1:50051"
    """Where `Recommender` listens, `host:port`, unless `--address` or the endpoints file says. Loopback: no TLS yet."""
    max_concurrent_rpcs: int = Field(256, ge=1, le=100_000)
    """Calls in flight; more are answered RESOURCE_EXHAUSTED at once instead of queueing past their deadlines."""
    max_request_bytes: int = Field(64 * 1024, ge=1024)
    """Largest request accepted."""
    max_reply_bytes: int = Field(1024 * 1024, ge=1024)
    """Largest reply sent: 500 items with 128-byte ids stay far below."""
    feature_read_ms: float = Field(50.0, gt=0)
    """Budget of the user read. It takes 1 ms; where ten processes share two cores, Redis may wait 30 for its turn."""
    max_user_reads: int = Field(4, ge=1, le=1024)
    """User reads in flight; further requests queue before theirs. One core ranks: more would only wait behind it."""
    catalog_ms: int = Field(50, ge=0, le=10_000)
    """Requests share item counters this old; decaying every item anew for each would cost a third of the request."""
    breaker_after_ms: float = Field(100.0, ge=0)
    """Time without a successful read, counted from the first failure, after which the store is left alone."""
    breaker_pause_ms: float = Field(250.0, gt=0)
    """How long the store is left alone before one request probes it: full quality returns well within 2 s."""
    catch_up_s: float = Field(10.0, ge=0)
    """How long the start waits for item features to be read to the end before it serves with what is there."""
    store_open_s: float = Field(10.0, ge=0)
    """How long the start waits for the Feast registry before it serves without user features."""
    served_log_queue: int = Field(4096, ge=1)
    """Served lists waiting for Kafka; more are dropped and counted, no caller waits."""
    cold_start_versions: int = Field(3, ge=1)
    """Newest versions of the local model store that a start tries before it serves without a model."""
    drain_s: float = Field(5.0, ge=0)
    """How long calls in flight may still run after SIGTERM."""
    metrics_port: int = Field(0, ge=0, le=65535)
    """Prometheus port on loopback; 0 is off."""
    reflection: bool = False
    """Offer gRPC server reflection."""
