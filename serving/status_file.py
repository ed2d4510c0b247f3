"""Writes what this server does to a file in the state directory once a second, for `headrace status` and the demo."""

from __future__ import annotations

from pathlib import Path

import msgspec

from features.whole_file import replace_file
from serving.arms.canary_report import CanaryReport


class WorkerEntry(msgspec.Struct, kw_only=True):
    """One of several processes that share a port."""

    number: int
    pid: int
    """0 while there is none."""
    state: str
    """`starting`, `serving`, `waiting` (ended, to be started again), `given_up` or `stopped`."""
    restarts: int
    model_version: str


class ServingStatus(msgspec.Struct, kw_only=True):
    """The content of `STATE/<name>.json`."""

    pid: int
    time_ms: int
    address: str
    admin_address: str
    is_full_quality: bool
    model_version: str
    newest_broker_time_ms: int
    """Newest Kafka record time of an event that the live version has learnt."""
    loaded_time_ms: int
    is_following: bool
    follow_reason: str
    swaps: int
    refused: dict[str, int]
    """Reason -> how many versions."""
    is_behind: bool
    """Whether the chain of deltas broke and the way back is still looked for."""
    last_refusal: str
    store_error: str = ""
    """Why the model store did not answer last; empty where it did, and where it is a directory."""
    cache_error: str = ""
    """Why the newest snapshot is not kept on this server's disk; empty where it is."""
    tower_index: dict[str, float] = {}
    """Items, recall, lists probed, bytes, and rows looked at beside it; empty where all products are taken."""
    deltas_applied: int
    resyncs: int
    """Rebuilds from a snapshot because a delta did not fit."""
    delta_apply_ms: dict[str, float]
    """p50, p99 of checking and applying a delta."""
    delta_to_serving_s: dict[str, float]
    """p50, p99 from a delta's creation until it served."""
    readers_waited_for: int
    readers_left_behind: int
    """Requests that held a model so long that their buffer was left to them."""
    requests: int
    degraded: dict[str, int]
    stages_ms: dict[str, dict[str, float]]
    """Stage -> p50, p99 over the newest requests."""
    stages_cpu_us: dict[str, float]
    """Stage -> mean CPU of the event loop's thread a request; with others in flight, waiting stages hold theirs too."""
    served_log_sent: int
    served_log_dropped: int
    refused_requests: dict[str, int]
    """Reason -> how many."""
    rules: int
    """Rules that hold."""
    rules_refusal: str
    """Why the rules of `headrace.yaml` as they are now were refused; empty where they hold."""
    experiment: str
    """That `headrace.yaml` declares; empty for none."""
    experiment_reason: str
    """Why it does not run; empty where it does."""
    arms: dict[str, int]
    """Arm of what runs -> lists that it answered."""
    canary: CanaryReport | None
    """What runs beside the live version."""
    last_canary: str
    """What became of the last one, and why."""
    items_known: int
    feature_offsets: dict[str, int]
    workers: list[WorkerEntry] = []
    """The processes that this sums up; empty where there is one server only."""


def write_status(path: Path, status: ServingStatus) -> None:
    """Replace the file in one step, so that a reader never sees half of it.

    Raises:
        OSError: the disk refuses.
    """
    replace_file(path, msgspec.json.encode(status))
