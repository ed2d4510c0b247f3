"""`down`, a change of the configuration, `up`, on a real stack whose topics no longer begin at their first record."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from compose.errors import PartFailedError
from compose.local_stack import LocalStack
from features.config import Endpoints
from streams.job_files import JobFiles
from streams.job_start import ChangedJobs
from tests.running_stack import ROOT, wait_for
from tests.streams.event_maker import event, unique
from tests.streams.topic_io import EVENTS, TopicIo

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]
PARTS = ["kafka", "jobmanager", "taskmanager-1", "topics", "jobs"]
ROWS = "headrace.features.user_activity.v1"


class Changing:
    """A stack that is started again and again with another configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "headrace.yaml"
        self.user_id = unique("user")
        self.counted = 0

    def start(self, changed: ChangedJobs = "replay", **sections: dict[str, Any]) -> LocalStack:
        """Start with the shipped configuration and these changes to its sections."""
        data = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        data["stack"] = {"taskmanagers": 1, "task_slots": 2, "start_timeout_s": 600}
        data["streams"] = {"checkpoint_interval_ms": 500, "submit_timeout_s": 400}
        for name, section in sections.items():
            data[name] = {**data.get(name, {}), **section}
        self._config.write_text(yaml.safe_dump(data), encoding="utf-8")
        stack = LocalStack(self._config, self._folder / "state", parts=PARTS, changed_jobs=changed)
        stack.start()
        return stack

    def count(self, endpoints: Endpoints) -> None:
        """Send one more event; the row must know of every one before it."""
        io = TopicIo(endpoints, ROWS)
        try:
            self.counted += 1
            io.send_all(EVENTS, [event(self.user_id, f"i{self.counted}", "like")])
            # A row with all events in it: less would have started empty, more would have counted twice.
            rows = io.follow(lambda rows: rows and f"i{self.counted}" in rows[-1]["history_item_ids"], self.user_id)
            assert len(rows[-1]["history_item_ids"]) == self.counted
        finally:
            io.close()

    def points(self) -> list[Path]:
        """Return the completed checkpoints of the feature job, newest first."""
        files = JobFiles(self._folder / "state" / "flink", "feature_job")
        return [point.path / "_metadata" for point in files.points()]

    def wait_for_checkpoints(self) -> None:
        """Wait until the two newest checkpoints were completed after this call: one may be lost."""

        def are_newer() -> bool:
            found = self.points()[:2]
            # One that Flink takes away right now is an older one.
            return len(found) == 2 and all(path.exists() and path.stat().st_mtime_ns > called_ns for path in found)

        called_ns = time.time_ns()
        wait_for(are_newer, "two checkpoints of what was counted", 180)

    def log(self) -> str:
        """Return what the jobs' part wrote over all starts."""
        return (self._folder / "state" / "logs" / "jobs.log").read_text(encoding="utf-8")


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    """Nothing runs yet."""
    return Changing(tmp_path)


def _forget_events(endpoints: Endpoints) -> None:
    """Take all events away, as retention does."""
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka)
    parts = {TopicPartition(EVENTS, number): -1 for number in range(4)}
    admin.delete_records(parts)
    admin.close()


def test_a_change_costs_no_state_on_a_stack_older_than_retention(changing: Changing) -> None:
    """A damaged checkpoint, a changed label, a changed feature job: each is answered for its own job."""
    with changing.start() as stack:
        changing.count(stack.endpoints)
        changing.wait_for_checkpoints()
        _forget_events(stack.endpoints)
    changing.points()[0].write_bytes(b"damaged")
    with changing.start(labels={"window_s": 30.0}) as stack:  # Another plan of the sample job alone.
        changing.count(stack.endpoints)
        assert "does not take" in changing.log()
        changing.wait_for_checkpoints()
    shorter = {"history_length": 40}  # Another plan of the feature job.
    with pytest.raises(PartFailedError, match=r"Kafka no longer has the first .* of headrace\.events\.v1"):
        changing.start(features=shorter)
    with changing.start("keep", features=shorter) as stack:
        changing.count(stack.endpoints)
    assert changing.counted == 3
    assert json.loads((stack.endpoints_path.parent / "flink" / "jobs.json").read_text()).keys() == {
        "feature_job",
        "sample_job",
    }
