"""`make bench-cuda`: steps a second on a GPU beside the CPU, with and without mixed precision, by batch size."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

try:
    import torch
except ImportError as error:
    sys.exit(
        f"{sys.executable} has no {error.name}; name one that has torch, numpy and safetensors: PYTHON=/path/of/it"
    )

from tests.cuda.recorded import batches, learner_for  # noqa: E402
from trainer.learner import Learner  # noqa: E402
from trainer.ranker_learner import ListBatch  # noqa: E402
from trainer.recorded_batches import RecordedBatches  # noqa: E402
from trainer.step_config import StepConfig  # noqa: E402

WARM_UP = 5


def main() -> int:
    """Print a table; a GPU's rows are missing where there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, help="of tests/bench/record_batches.py; seeded batches by default")
    parser.add_argument("--joined", type=int, nargs="+", default=[1, 8, 64], help="recorded batches in one step")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)  # As the trainer does.
    recorded = batches(options.recording)
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    else:
        print(f"SKIPPED cuda: torch {torch.__version__} sees no CUDA device")
    for device in devices:
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU, one thread"
        for is_mixed in (False, True):
            learner = learner_for(recorded, device, StepConfig(mixed_precision=is_mixed, replay_rows=0))
            precision = "bfloat16 hidden layers" if is_mixed else "float32"
            for joined in options.joined:
                rows, per_s = ranker_rate(learner, recorded, joined, options.steps)
                what = f"{name}: ranker, {precision}, {rows:,} rows a step"
                print(f"{what}: {per_s:,.1f} steps/s, {rows * per_s:,.0f} rows/s", flush=True)
        print(f"{name}: tower: {tower_rate(learner, recorded, options.steps):,.1f} steps/s", flush=True)
    return 0


def ranker_rate(learner: Learner, recorded: RecordedBatches, joined: int, steps: int) -> tuple[int, float]:
    """Return rows of a step and steps a second."""
    lists = [recorded.lists[number % len(recorded.lists)] for number in range(joined)]
    batch = ListBatch.joined(lists)
    return len(batch.labels), steps_per_s(lambda step: learner.learn_lists(batch, step), steps)


def tower_rate(learner: Learner, recorded: RecordedBatches, steps: int) -> float:
    """Return steps a second."""
    towers = recorded.towers
    return steps_per_s(lambda step: learner.learn_positives(towers[step % len(towers)]), steps)


def steps_per_s(take_step: Callable[[int], object], steps: int) -> float:
    """Time steps behind a few that warm up; each ends with a look at its gradients, so the device is done with it."""
    for step in range(WARM_UP):
        take_step(step + 1)
    began_s = time.perf_counter()
    for step in range(steps):
        take_step(WARM_UP + step + 1)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - began_s)


if __name__ == "__main__":
    sys.exit(main())
