"""The `streams` section of `headrace.yaml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from features.config import StrictConfig


class StreamsConfig(StrictConfig):
    """How the two Flink jobs run. Environment prefix: `HEADRACE_STREAMS_`."""

    parallelism: int = Field(1, ge=1, le=1024)
    """Parallel instances of every operator; each takes one task slot a job."""
    checkpoint_interval_ms: int = Field(10_000, ge=100)
    """Milliseconds between checkpoints, and at least between two of them: a crash repeats up to twice that. State on
    the heap is written whole each time: at 5000 that was a fifth of a job with a backlog behind it."""
    retained_checkpoints: int = Field(3, ge=1, le=100)
    """Completed checkpoints kept per job for `--restore`; the cluster is told when it starts, Flink asks no job."""
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    """`hashmap` is 5-10 times faster here; `rocksdb` holds state larger than the heap."""
    buffer_timeout_ms: int = Field(5, ge=0)
    """Milliseconds a record may wait in a network buffer between operators."""
    linger_ms: int = Field(5, ge=0)
    """Milliseconds a Kafka producer waits to fill a batch."""
    row_flush_ms: int = Field(20, ge=0)
    """Milliseconds within which changes of one feature row are folded into one message; 0 sends each change."""
    old_row_after_ms: int = Field(60_000, ge=0)
    """Milliseconds since its newest event from which on a feature row is old: what a backlog is made of."""
    old_row_flush_ms: int = Field(10_000, ge=0)
    """Milliseconds within which changes of an old row are folded into one message, while old rows keep coming; 0 treats
    them as all others. A checkpoint sends whatever waits, so more than its interval changes nothing."""
    submit_timeout_s: float = Field(120.0, gt=0)
    """Seconds that the cluster has to bring a submitted job to RUNNING."""
