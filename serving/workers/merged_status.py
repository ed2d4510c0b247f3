"""One status of several workers, in the shape that a single server writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TypeVar

from serving.status_file import ServingStatus, WorkerEntry
from trainer.model_version import ModelVersion

Number = TypeVar("Number", int, float)


def merged_status(
    told: Sequence[ServingStatus], workers: Sequence[WorkerEntry], address: str, admin_address: str
) -> ServingStatus:
    """Return the status of all.

    What requests did is added up; of versions stands what the worker furthest behind serves; times are the slowest
    worker's; quality is full only where every worker serves and is at full quality.

    Args:
        told: what those say that serve.
        workers: all.
        address: of the port they share.
        admin_address: of the parent.
    """
    behind = min(told, key=lambda one: _number(one.model_version), default=None)
    return ServingStatus(
        pid=os.getpid(),
        time_ms=time.time_ns() // 1_000_000,
        address=address,
        admin_address=admin_address,
        is_full_quality=len(told) == len(workers) and all(one.is_full_quality for one in told),
        model_version="" if behind is None else behind.model_version,
        newest_broker_time_ms=0 if behind is None else behind.newest_broker_time_ms,
        loaded_time_ms=0 if behind is None else behind.loaded_time_ms,
        is_following=bool(told) and all(one.is_following for one in told),
        follow_reason=_first(one.follow_reason for one in told),
        swaps=max((one.swaps for one in told), default=0),
        refused=_by_key(max, (one.refused for one in told)),
        is_behind=any(one.is_behind for one in told),
        last_refusal=_first(one.last_refusal for one in told),
        store_error=_first(one.store_error for one in told),
        cache_error=_first(one.cache_error for one in told),
        tower_index=min((one.tower_index for one in told if one.tower_index), key=itemgetter("recall"), default={}),
        deltas_applied=max((one.deltas_applied for one in told), default=0),
        resyncs=max((one.resyncs for one in told), default=0),
        delta_apply_ms=_by_key(max, (one.delta_apply_ms for one in told)),
        delta_to_serving_s=_by_key(max, (one.delta_to_serving_s for one in told)),
        readers_waited_for=sum(one.readers_waited_for for one in told),
        readers_left_behind=sum(one.readers_left_behind for one in told),
        requests=sum(one.requests for one in told),
        degraded=_by_key(sum, (one.degraded for one in told)),
        stages_ms={
            stage: _by_key(max, (one.stages_ms.get(stage, {}) for one in told))
            for stage in dict.fromkeys(stage for one in told for stage in one.stages_ms)
        },
        stages_cpu_us=_by_key(max, (one.stages_cpu_us for one in told)),
        served_log_sent=sum(one.served_log_sent for one in told),
        served_log_dropped=sum(one.served_log_dropped for one in told),
        refused_requests=_by_key(sum, (one.refused_requests for one in told)),
        rules=min((one.rules for one in told), default=0),
        rules_refusal=_first(one.rules_refusal for one in told),
        experiment=_first(one.experiment for one in told),
        experiment_reason=_first(one.experiment_reason for one in told),
        arms=_by_key(sum, (one.arms for one in told)),
        canary=None,  # Several workers refuse one.
        last_canary="",
        items_known=min((one.items_known for one in told), default=0),
        feature_offsets=_by_key(min, (one.feature_offsets for one in told)),
        workers=list(workers),
    )


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _by_key(merge: Callable[[list[Number]], Number], of_each: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    """Merge the values of each key over those that have it."""
    values: dict[str, list[Number]] = {}
    for one in of_each:
        for key, value in one.items():
            values.setdefault(key, []).append(value)
    return {key: merge(found) for key, found in values.items()}


def _number(version: str) -> ModelVersion:
    """Return a version's number; below all others where there is none."""
    return ModelVersion.parse(version) if version else ModelVersion(-1, -1)
