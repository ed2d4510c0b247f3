"""From a load to sizes: one row for each part, with the arithmetic in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compose.sizing.unit_costs import UnitCosts

_DAY_S = 86_400.0
_US, _MB, _GB = 1e-6, 1e6, 1e9
_MEASURED_ITEMS = 20_000
_HEAP_PER_TASKMANAGER_GB = 8.0
"""Largest heap for state in a TaskManager that the plan proposes; above it RocksDB."""
_REDIS_SHARD_GB = 25.0
"""Largest shard that is still written to disk and copied in minutes."""


@dataclass(frozen=True)
class Load:
    """What an app is expected to do."""

    events_per_s: float
    """At the peak."""
    items: int
    users: int
    """Active within the retention of features."""
    qps: float
    """`Recommend` calls a second, at the peak."""
    list_length: int = 10
    teaching_share: float = 0.3
    """Share of the events that are positive or negative, so that each builds a list and teaches."""
    mean_share: float = 0.4
    """Mean load over a day, as a share of the peak: what disks see."""
    busy: float = 0.5
    """Share of a core that a part may take at the peak."""
    horizon_h: float = 24.0
    retention_days: float = 7.0
    replication: int = 3


@dataclass(frozen=True)
class PlanRow:
    """The size of one part."""

    part: str
    size: str
    """What to set, in the part's own words."""
    figure: float
    """The number behind it."""
    unit: str
    why: str
    costs: tuple[str, ...] = ()
    """The unit costs that it comes from."""
    limit: str = ""
    """What Headrace does not do at this size today; empty where it does."""


def plan(load: Load, costs: UnitCosts) -> list[PlanRow]:
    """Return the sizes of all parts."""
    feature_cores, sample_cores = _feature_cores(load, costs), _sample_cores(load, costs)
    return [
        _partitions(load, feature_cores, sample_cores),
        _flink(
            "Flink feature job", feature_cores, load, "feature_job_us_an_event", f"{load.events_per_s:,.0f} events/s"
        ),
        _flink("Flink sample job", sample_cores, load, "sample_job_us_a_row", f"{_shown(load):,.0f} shown items/s"),
        _flink_state(load, costs),
        _ingester(load, costs),
        _redis(load, costs),
        _trainer(load, costs),
        _trainer_memory(load, costs),
        _serving(load, costs),
        _serving_memory(load, costs),
        _kafka_disk(load, costs),
        _network(load, costs),
    ]


def _shown(load: Load) -> float:
    return load.qps * load.list_length


def _rows_per_s(load: Load) -> float:
    """Return feature rows a second at most: of the user and the item of an event, and of those that a list shows."""
    return 2.0 * load.events_per_s + load.qps * (1 + load.list_length)


def _feature_cores(load: Load, costs: UnitCosts) -> float:
    return load.events_per_s * costs["feature_job_us_an_event"] * _US


def _sample_cores(load: Load, costs: UnitCosts) -> float:
    return _shown(load) * costs["sample_job_us_a_row"] * _US


def _whole(cores: float, load: Load) -> int:
    return max(1, math.ceil(cores / load.busy))


def _partitions(load: Load, *cores: float) -> PlanRow:
    parallelism = max(_whole(each, load) for each in cores)
    count = max(4, 2 * parallelism)
    why = f"two a parallel instance ({parallelism}), 4 at least: room to grow without moving keys"
    return PlanRow("Kafka partitions", f"{count} of events, served and samples", count, "partitions", why)


def _flink(part: str, cores: float, load: Load, cost: str, what: str) -> PlanRow:
    count = _whole(cores, load)
    return PlanRow(
        part, f"parallelism {count}", count, "slots", f"{what}: {cores:.2f} cores at {load.busy:.0%}", (cost,)
    )


def _flink_state(load: Load, costs: UnitCosts) -> PlanRow:
    lists = load.qps * load.mean_share * 2 * load.horizon_h * 3600.0
    users_gb = load.users * costs["feature_job_bytes_a_user"] / _GB
    lists_gb = lists * costs["sample_job_bytes_a_list"] * load.list_length / 20 / _GB
    total = users_gb + lists_gb
    size = f"{total:,.1f} GB of state"
    is_large = total > _HEAP_PER_TASKMANAGER_GB
    size += ", streams.state_backend: rocksdb" if is_large else ", on the heap (hashmap)"
    limit = (
        "rocksdb costs 5 to 10 times the CPU of the rows above (design); not measured at this size" if is_large else ""
    )
    why = f"{load.users:,} users {users_gb:.1f} GB, {lists:,.0f} lists of {2 * load.horizon_h:g} h {lists_gb:.1f} GB"
    return PlanRow(
        "Flink state", size, total, "GB", why, ("feature_job_bytes_a_user", "sample_job_bytes_a_list"), limit
    )


def _ingester(load: Load, costs: UnitCosts) -> PlanRow:
    cores = _rows_per_s(load) * costs["ingester_us_a_row"] * _US
    why = f"{_rows_per_s(load):,.0f} rows/s at most (before rows are folded): {cores:.2f} cores"
    needed = _whole(cores, load)
    most = 1e6 / costs["ingester_us_a_row"]
    limit = (
        f"one ingester runs today, {most:,.0f} rows/s on a core; more means a store a range of keys"
        if needed > 1
        else ""
    )
    return PlanRow("Ingesters", f"{needed}", needed, "processes", why, ("ingester_us_a_row",), limit)


def _redis(load: Load, costs: UnitCosts) -> PlanRow:
    memory_gb = load.users * costs["redis_bytes_a_user"] / _GB
    cores = _rows_per_s(load) * costs["redis_us_a_row"] * _US
    shards = max(math.ceil(memory_gb / _REDIS_SHARD_GB), _whole(cores, load))
    why = f"{load.users:,} users with full histories; {cores:.2f} cores for rows at {load.busy:.0%}"
    size = f"{memory_gb:,.1f} GB in {shards} shard{'s' if shards > 1 else ''}"
    limit = "one Redis is what was tested" if shards > 1 else ""
    return PlanRow("Redis", size, memory_gb, "GB", why, ("redis_bytes_a_user", "redis_us_a_row"), limit)


def _trainer(load: Load, costs: UnitCosts) -> PlanRow:
    teaching = load.events_per_s * load.teaching_share + load.qps
    neutral = load.events_per_s * (1 - load.teaching_share)
    cores = (teaching * costs["trainer_us_a_sample"] + neutral * costs["trainer_us_a_neutral_event"]) * _US
    count = _whole(cores, load)
    why = f"{teaching:,.0f} samples/s that teach, {neutral:,.0f} neutral: {cores:.2f} cores at {load.busy:.0%}"
    limit = "one trainer process runs today (docs/scaling.md, several workers)" if count > 1 else ""
    return PlanRow(
        "Trainer workers",
        f"{count}",
        count,
        "processes",
        why,
        ("trainer_us_a_sample", "trainer_us_a_neutral_event"),
        limit,
    )


def _trainer_memory(load: Load, costs: UnitCosts) -> PlanRow:
    total = (load.users * costs["trainer_bytes_a_user"] + load.items * costs["trainer_bytes_an_item"]) / _GB
    why = "rows of users and items with ids; counters and histories of users come on top"
    return PlanRow(
        "Trainer memory",
        f"{total:,.1f} GB a worker",
        total,
        "GB",
        why,
        ("trainer_bytes_a_user", "trainer_bytes_an_item"),
    )


def _serving(load: Load, costs: UnitCosts) -> PlanRow:
    us = costs["serving_us_a_request"] + max(0, load.items - _MEASURED_ITEMS) * costs["serving_us_an_item"]
    a_process = costs["serving_busy_share"] * 1e6 / us
    count = max(1, math.ceil(load.qps / a_process))
    why = f"{us / 1e3:.1f} ms a request, {a_process:,.0f} requests/s a process at half of its peak"
    limit = f"measured at {_MEASURED_ITEMS:,} items; above, reckoned" if load.items > _MEASURED_ITEMS else ""
    return PlanRow(
        "Serving processes",
        f"{count} (and one replica more, for its absence)",
        count,
        "processes",
        why,
        ("serving_us_a_request", "serving_us_an_item", "serving_busy_share"),
        limit,
    )


def _serving_memory(load: Load, costs: UnitCosts) -> PlanRow:
    model_mb = 2 * max(0, load.items - _MEASURED_ITEMS) * costs["model_bytes_an_item"] / _MB
    total = costs["serving_mb_a_process"] + model_mb
    why = "a process at 20,000 items, and both buffers of a larger model"
    return PlanRow(
        "Serving memory", f"{total / 1e3:,.1f} GB a process", total / 1e3, "GB", why,
        ("serving_mb_a_process", "model_bytes_an_item"),
    )  # fmt: skip


def _bytes_per_s(load: Load, costs: UnitCosts) -> float:
    """Return what is written to the topics that are kept for days, before replication, at the peak."""
    events = load.events_per_s * costs["event_bytes"]
    # A sample repeats its served list.
    lists = _shown(load) * 2 * costs["served_bytes_an_item"]
    return events + lists


def _kafka_disk(load: Load, costs: UnitCosts) -> PlanRow:
    a_day = _bytes_per_s(load, costs) * load.mean_share * _DAY_S
    total = a_day * load.retention_days * load.replication / _GB
    why = (
        f"{a_day / _GB:,.1f} GB a day, {load.retention_days:g} days, {load.replication} copies; compacted topics aside"
    )
    return PlanRow(
        "Kafka disk",
        f"{total:,.0f} GB",
        total,
        "GB",
        why,
        ("event_bytes", "served_bytes_an_item"),
    )


def _network(load: Load, costs: UnitCosts) -> PlanRow:
    rows = _rows_per_s(load) * costs["redis_bytes_a_user"]  # Of an item it is less.
    total = (_bytes_per_s(load, costs) * (load.replication + 2) + rows * (load.replication + 1)) / _MB
    total += costs["delta_bytes"] / _MB * (load.replication + max(1.0, load.qps / 200.0))
    why = "topics written with all copies and read twice, rows written and read, a delta a second for every process"
    return PlanRow("Network", f"{total:,.0f} MB/s in all", total, "MB/s", why, ("redis_bytes_a_user", "delta_bytes"))
