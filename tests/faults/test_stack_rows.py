"""One fault after the other on one whole stack, at a small load; all invariants are checked behind each.

Every part has lines of its own to Kafka and Redis (`edged_stack.py`). Durations are a tenth of the matrix's, except
where a timeout decides: a stopped TaskManager stays stopped for twice the heartbeat's timeout.
"""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.faults.edged_stack import EdgedStack, edged_stack
from tests.faults.mix_run import Load, MixRunner
from tests.faults.schedule import Fault, describe, make_swizzle

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(1800)]
LASTS_S, ZOMBIE_S = 6.0, 12.0
LOAD = Load(events=1_500, records_per_s=150.0)
POISON = 1_000
ROWS = [
    *(Fault(0.4, "kill", part, "", 0.0) for part in ("kafka", "redis", "ingester", "trainer", "server", "quality")),
    *(Fault(0.4, "kill", part, "", 0.0) for part in ("taskmanager", "jobmanager")),
    Fault(0.4, "pause", "taskmanager", "", ZOMBIE_S),
    *(Fault(0.4, "pause", part, "", LASTS_S) for part in ("kafka", "trainer")),
    *(Fault(0.4, "line", line, "hole", LASTS_S) for line in ("kafka-app", "kafka-jobs", "kafka-trainer")),
    *(Fault(0.4, "line", line, "cut", LASTS_S) for line in ("kafka-ingester", "kafka-server", "redis-ingester")),
    Fault(0.4, "line", "redis-server", "slice 1", LASTS_S),
    Fault(0.4, "flush", "redis", "", 0.0),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgedStack]:
    """Everything, up for all tests of this file."""
    with edged_stack(tmp_path_factory.mktemp("edged")) as started:
        yield started


@pytest.fixture(scope="module")
def runner(stack: EdgedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MixRunner]:
    """Follows the stack's topics from their beginning."""
    running = MixRunner(stack, tmp_path_factory.mktemp("histories"), LOAD, print)
    yield running
    running.close()


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[fault.describe() for fault in ROWS])
def test_all_invariants_hold_after_each_fault(runner: MixRunner, number: int) -> None:
    """Nothing acknowledged is lost, nothing counts twice, every value is that of a plain replay, every answer sound."""
    verdict = runner.run(1_000_000 + number, (ROWS[number],))
    assert verdict.problems == [], verdict.figures


def test_a_swizzle_of_all_lines_changes_nothing(runner: MixRunner) -> None:
    """Each stalled behind the other, healed in another order."""
    faults = make_swizzle(1)
    verdict = runner.run(1_000_500, faults)
    assert verdict.problems == [], describe(faults)


def test_a_thousand_poison_messages_restart_nothing(runner: MixRunner) -> None:
    """Each is a dead letter, byte for byte, and no part and no job starts again; what stands between them counts."""
    verdict = runner.run(1_000_600, (), garbage=POISON / LOAD.events)
    assert verdict.problems == []
    assert verdict.figures["garbage"] >= POISON


def test_no_taskmanager_has_a_python_worker(stack: EdgedStack) -> None:
    """So there is none to be killed: the jobs are SQL and Java."""
    for name in ("taskmanager-1", "taskmanager-2"):
        children = psutil.Process(stack.local.pid_of(name)).children(recursive=True)
        assert [child.name() for child in children if "python" in child.name()] == []
