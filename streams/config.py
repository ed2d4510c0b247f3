"""The `streams` section of `headrace.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from features.config import StrictConfig


class StreamsConfig(StrictConfig):
    """How the two Flink jobs run. Environment prefix: `HEADRACE_STREAMS_`."""

    parallelism: int = Field(1, ge=1, le=1024)
    """Parallel instances of every operator; each takes one task slot a job."""
    checkpoint_interval_ms: int = Field(5000, ge=100)
    """Milliseconds between checkpoints: what a crash repeats at most. At 1000 the idle jobs took twice the CPU."""
    retained_checkpoints: int = Field(3, ge=1, le=100)
    """Completed checkpoints kept per job for `--restore`."""
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    """`hashmap` is 5-10 times faster here; `rocksdb` holds state larger than the heap."""
    buffer_timeout_ms: int = Field(5, ge=0)
    """Milliseconds a record may wait in a network buffer between operators."""
    linger_ms: int = Field(5, ge=0)
    """Milliseconds a Kafka producer waits to fill a batch."""
    row_flush_ms: int = Field(20, ge=0)
    """Milliseconds within which changes of one feature row are folded into one message; 0 sends each change."""
    submit_timeout_s: float = Field(120.0, gt=0)
    """Seconds that the cluster has to bring a submitted job to RUNNING."""
