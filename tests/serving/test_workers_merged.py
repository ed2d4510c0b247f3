"""One status and one scrape of several workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client.samples import Sample

from serving.avoided_versions import AvoidedVersions
from serving.status_file import ServingStatus, WorkerEntry
from serving.workers.merged_metrics import merged_families
from serving.workers.merged_status import merged_status
from trainer.version_files import ModelVersion


def status_of(version: str, **changes: Any) -> ServingStatus:
    """Return what one worker says."""
    none = merged_status([], [], "", "")
    return ServingStatus(
        **{**{f: getattr(none, f) for f in none.__struct_fields__}, "model_version": version} | changes
    )


def entries(count: int) -> list[WorkerEntry]:
    """Return workers that serve."""
    return [WorkerEntry(number=n, pid=1, state="serving", restarts=0, model_version="") for n in range(count)]


def test_status_adds_up_requests_and_tells_the_slowest_and_the_furthest_behind() -> None:
    """What a single server's status means holds for all workers together."""
    told = [
        status_of("1.10", is_full_quality=True, requests=3, degraded={"no_model": 1}, stages_ms={"rank": {"p99": 2.0}}),
        status_of("1.9", is_full_quality=True, requests=4, degraded={"no_model": 2}, stages_ms={"rank": {"p99": 5.0}}),
    ]
    merged = merged_status(told, entries(2), "127.0.0.1:5", "")
    assert (merged.model_version, merged.requests, merged.degraded) == ("1.9", 7, {"no_model": 3})
    assert (merged.stages_ms, merged.is_full_quality) == ({"rank": {"p99": 5.0}}, True)


def test_quality_is_full_only_where_every_worker_is() -> None:
    """One that does not tell, or is not full, is enough."""
    full, other = status_of("1.1", is_full_quality=True), status_of("1.1", is_full_quality=False)
    assert not merged_status([full], entries(2), "", "").is_full_quality
    assert not merged_status([full, other], entries(2), "", "").is_full_quality


def test_scrape_has_every_family_once_and_names_the_worker() -> None:
    """Nothing is added up: a sum would fall when a worker starts again."""
    text = '# HELP a_total Some.\n# TYPE a_total counter\na_total{{x="1"}} {}\n'
    (family,) = merged_families({"0": text.format(3), "1": text.format(5)})
    assert (family.name, family.type) == ("a", "counter")
    assert family.samples == [
        Sample("a_total", {"x": "1", "worker": "0"}, 3.0),
        Sample("a_total", {"x": "1", "worker": "1"}, 5.0),
    ]


def test_workers_keep_what_each_of_them_left(tmp_path: Path) -> None:
    """Two workers, a delta apart, roll back: neither forgets what the other left, over restarts too."""
    path = tmp_path / "order.avoided.json"
    first, second = AvoidedVersions(path), AvoidedVersions(path)
    first.add(ModelVersion(1, 2), ModelVersion(1, 5))
    second.add(ModelVersion(1, 2), ModelVersion(1, 7))
    third = AvoidedVersions(path)
    assert [third.holds(ModelVersion(1, seq)) for seq in (2, 5, 7, 8)] == [False, True, True, False]
    first.allow(ModelVersion(1, 6))
    assert [AvoidedVersions(path).holds(ModelVersion(1, seq)) for seq in (5, 7)] == [True, False]
