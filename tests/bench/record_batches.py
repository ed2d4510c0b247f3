"""Record what the learner's weights are given on a stream: `python tests/bench/record_batches.py OUT.safetensors`.

The online learner takes ML-100k ratings as organic samples; the last batches of ranker and tower go into a file that
`make test-cuda bench-cuda ARGS="--recording OUT.safetensors"` learns on a machine with torch alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from features.config import load_app_config, load_section  # noqa: E402
from tests.bench.bench_trainer import CONFIG, sample_messages  # noqa: E402
from tests.bench.step_recorder import Recorder  # noqa: E402
from trainer.config import TrainerConfig  # noqa: E402
from trainer.online_learner import OnlineLearner  # noqa: E402
from trainer.recorded_batches import write_batches  # noqa: E402
from trainer.samples import decode_sample  # noqa: E402

BATCH_SAMPLES = 16


def main() -> int:
    """Learn and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=4000, help="samples to learn")
    parser.add_argument("--keep", type=int, default=50, help="last batches of each kind that are kept")
    options = parser.parse_args()
    kept = record(list(sample_messages(options.samples)), BATCH_SAMPLES).newest(options.keep)
    write_batches(options.out, kept)
    size_mb = options.out.stat().st_size / 1e6
    print(f"{len(kept.lists)} list and {len(kept.towers)} tower batches, {size_mb:.1f} MB, in {options.out}")
    return 0


def record(samples: list[bytes], batch_samples: int) -> Recorder:
    """Learn samples in micro-batches of one size; return what recorded the weights' batches."""
    torch.set_num_threads(1)
    learner = OnlineLearner(load_app_config(CONFIG), load_section(CONFIG, "trainer", TrainerConfig).learner)
    recorder = Recorder(learner.weights)
    for start in range(0, len(samples), batch_samples):
        learner.learn_batch([decode_sample(value) for value in samples[start : start + batch_samples]])
    return recorder


if __name__ == "__main__":
    sys.exit(main())
