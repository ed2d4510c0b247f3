"""How soon a planted reversal is recovered from, with and without drift handling: `python tests/bench/bench_drift.py`.

One learner and one stream a seed, twice. What drift handling costs where nothing drifts is
`bench_learning.py --ingredients "as shipped,no drift handling"`. Exits with 1 where a seed is not faster with handling,
takes more samples than stated, or raises an alarm before there is anything to notice.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tests.bench.planted_reversal import SAMPLES_GOAL, recover  # noqa: E402


def main() -> int:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="streams")
    options = parser.parse_args()
    torch.set_num_threads(1)
    handled, plain, alarms = [], [], 0
    print("seed   samples until recovered: with drift handling / without   alarms before the reversal")
    for seed in range(1, options.seeds + 1):
        one, other = recover(True, seed), recover(False, seed)
        handled.append(one.samples)
        plain.append(other.samples)
        alarms += one.early_alarms
        print(f"{seed:4}   {one.samples:6} / {other.samples:6}   {one.early_alarms}", flush=True)
    print(f"median {np.median(handled):.0f} / {np.median(plain):.0f} samples, at most {max(handled)} / {max(plain)}")
    is_faster = all(one < other for one, other in zip(handled, plain, strict=True))
    is_good = is_faster and max(handled) <= SAMPLES_GOAL and not alarms
    verdict = "met   " if is_good else "MISSED"
    print(f"{verdict} every seed faster with handling, within {SAMPLES_GOAL} samples, no early alarm")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
