"""How surely the gate holds a learner whose labels are shuffled: `python tests/bench/bench_gate.py --seeds 1..20`.

Each seed is a stream of shown lists with planted taste behind a real small learner, a version cut every 32 lists. First
the labels are true: a held version is a false alarm. Then they are shuffled: a version should be held. Prints a line a
seed with the reason, and how many lists it took; the last line has both counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.oracle.run import seeds_of
from tests.trainer.shuffled_streams import Shop
from trainer.config import GateConfig


def main() -> int:
    """Run the seeds; return 1 where one was held too early or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1..20"), help="7 or 1..20 (default)")
    parser.add_argument("--clean", type=int, default=6000, help="lists with true labels (6000)")
    parser.add_argument("--shuffled", type=int, default=4000, help="lists with shuffled labels at most (4000)")
    options = parser.parse_args()
    held = alarms = 0
    for seed in options.seeds:
        started_s = time.process_time()
        shop = Shop(seed, GateConfig(is_enabled=True))
        alarm = shop.live(options.clean)
        begin = shop.lists
        reason = "" if alarm else shop.live(options.shuffled, is_shuffled=True)
        alarms, held = alarms + bool(alarm), held + bool(reason)
        verdict = f"held when clean: {alarm}" if alarm else reason or "never held"
        print(
            f"seed {seed}: {shop.lists - begin} shuffled lists, {time.process_time() - started_s:.0f} CPU s, {verdict}"
        )
    print(f"shuffled: {held} of {len(options.seeds)} held; clean: {alarms} of {len(options.seeds)} held")
    return int(held < len(options.seeds) or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
