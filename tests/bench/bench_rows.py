"""What a row costs as tables grow: `python tests/bench/bench_rows.py`.

For each size a table of that many users is filled; then micro-batches of users drawn from all of them look up their
rows, gather them and take a step of row-wise Adagrad. Prints the cost of a sample against the smallest table, and the
longest append while the table grew. Times are CPU time of this process: the machine may be shared.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from trainer.bounded_table import BoundedTable  # noqa: E402
from trainer.step_config import RowLimits  # noqa: E402

BATCH = 64
APPEND = 1000
ROUNDS = 2000


def main() -> int:
    """Measure each size and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--embedding-dim", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = BoundedTable(options.embedding_dim, 0.1, 0.0, seed=1, limits=RowLimits(max(options.rows)))
    smallest_us = 0.0
    for size in sorted(options.rows):
        longest_ms = grow(table, size)
        look_up_us, step_us = cost_us(table)
        smallest_us = smallest_us or look_up_us + step_us
        print(
            f"{size:,} rows: {look_up_us + step_us:.2f} us a sample ({look_up_us:.2f} to look up),"
            f" longest append of {APPEND} ids {longest_ms:.1f} ms, ratio={(look_up_us + step_us) / smallest_us:.2f}",
            flush=True,
        )
    evicting_us = full_us(table)
    print(f"full table, every sample a new user: {evicting_us:.2f} us a sample, ratio={evicting_us / smallest_us:.2f}")
    return 0


def grow(table: BoundedTable, size: int) -> float:
    """Append ids until the table has `size` rows; return the longest call in milliseconds."""
    longest_s = 0.0
    for start in range(len(table), size, APPEND):
        ids = [f"user-{number}" for number in range(start, min(start + APPEND, size))]
        began_s = time.process_time()
        rows = torch.from_numpy(table.use_rows(ids, now_ms=start))
        longest_s = max(longest_s, time.process_time() - began_s)
        table.learn_rows(rows, torch.ones(len(rows), table.embedding_dim))
    return 1e3 * longest_s


def cost_us(table: BoundedTable) -> tuple[float, float]:
    """Return microseconds a sample of looking up, and of gathering and learning, with users drawn from all rows."""
    random, gradients = np.random.default_rng(1), torch.full((BATCH, table.embedding_dim), 1e-3)
    look_up_s = step_s = 0.0
    for _ in range(ROUNDS):
        ids = [f"user-{number}" for number in random.integers(len(table), size=BATCH)]
        began_s = time.process_time()
        rows = torch.from_numpy(table.use_rows(ids, now_ms=1_000_000_000))
        found_s = time.process_time()
        table.gather(rows)
        table.learn_rows(rows, gradients)
        look_up_s += found_s - began_s
        step_s += time.process_time() - found_s
    return 1e6 * look_up_s / (ROUNDS * BATCH), 1e6 * step_s / (ROUNDS * BATCH)


def full_us(table: BoundedTable) -> float:
    """Return microseconds a sample when every row that is given was another's."""
    gradients, spent_s = torch.full((BATCH, table.embedding_dim), 1e-3), 0.0
    for turn in range(ROUNDS):
        ids = [f"new-{BATCH * turn + number}" for number in range(BATCH)]
        began_s = time.process_time()
        table.learn_rows(torch.from_numpy(table.use_rows(ids, now_ms=1_000_000_000)), gradients)
        spent_s += time.process_time() - began_s
    return 1e6 * spent_s / (ROUNDS * BATCH)


if __name__ == "__main__":
    sys.exit(main())
