"""Where the time of a step on the weights goes: in torch's operators, or in Python and numpy around them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from trainer.learner import Learner
from trainer.recorded_batches import RecordedBatches
from trainer.step_config import StepConfig

WARM_UP = 10


@dataclass(frozen=True)
class StepProfile:
    """One kind of step over recorded batches."""

    name: str
    rows: int
    """Ranker rows or positives of a mean batch, replay not counted."""
    step_ms: float
    """CPU time of a step, not profiled."""
    outside_share: float
    """Of a profiled step: what is not inside an operator of torch."""
    operators: int
    """Calls of operators a step."""

    def __str__(self) -> str:
        """Return one line for people."""
        outside = f"{self.outside_share:.0%} of it outside torch's operators"
        return f"{self.name} step of {self.rows:,} rows: {self.step_ms:.2f} ms, {outside}, {self.operators} operators"


def profile_steps(recorded: RecordedBatches, config: StepConfig) -> list[StepProfile]:
    """Profile the ranker's and the tower's step over a recording, each with a fresh learner on one thread."""
    torch.set_num_threads(1)
    lists, towers = recorded.lists, recorded.towers
    learner = Learner(config, recorded.num_inputs, num_pre_ranker_inputs=1)
    for table, size in zip(learner.tower.tables().values(), recorded.num_rows, strict=True):
        table.rows_of([f"id-{number}" for number in range(size)], add=True)
    rows, positives = sum(len(b.labels) for b in lists) // len(lists), sum(len(b.users) for b in towers) // len(towers)
    return [
        _profiled("ranker", rows, lambda step: learner.learn_lists(lists[step % len(lists)], step + 1), len(lists)),
        _profiled("tower", positives, lambda step: learner.learn_positives(towers[step % len(towers)]), len(towers)),
    ]


def _profiled(name: str, rows: int, take_step: Callable[[int], object], steps: int) -> StepProfile:
    for step in range(WARM_UP):
        take_step(step)
    began_s = time.process_time()
    for step in range(steps):
        take_step(WARM_UP + step)
    step_ms = 1e3 * (time.process_time() - began_s) / steps
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        began_s = time.perf_counter()  # As the profiler times operators.
        for step in range(steps):
            take_step(WARM_UP + steps + step)
        spent_s = time.perf_counter() - began_s
    operators = [event for event in profiler.key_averages() if event.key.startswith("aten::")]
    inside_s = sum(event.self_cpu_time_total for event in operators) / 1e6
    calls = sum(event.count for event in operators) // steps
    return StepProfile(name, rows, step_ms, 1.0 - inside_s / spent_s, calls)
