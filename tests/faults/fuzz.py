"""Mutated calls and events by the thousand: `python tests/faults/fuzz.py --calls 100000 --events 20000 --seed 1`.

Calls go to every method of a real server in this process (`call_fuzz.py`), events to everybody who reads raw events
(`event_fuzz.py`; needs a Java compiler and the jars of `make setup`). Memory is that of this process. Exit code 1 where
a caller heard what none should, readers differed, or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.faults.call_fuzz import fuzz_calls  # noqa: E402
from tests.faults.event_fuzz import fuzz_events  # noqa: E402

_MOST_GROWTH = 0.05
"""Of memory, between a tenth of the way and the end."""
_SHOWN = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Send both, say what became of them; return 1 where something did that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="mutated calls (100000)")
    parser.add_argument("--events", type=int, default=20_000, help="mutated events (20000)")
    parser.add_argument("--seed", type=int, default=1, help="of both (1)")
    options = parser.parse_args(arguments)
    logging.getLogger("serving").setLevel(logging.ERROR)
    problems = []
    with tempfile.TemporaryDirectory(prefix="headrace-fuzz-") as folder:
        started_s = time.monotonic()
        calls = asyncio.run(fuzz_calls(Path(folder), options.seed, options.calls))
        print(f"{calls.codes.total()} calls, seed {options.seed}: {_shown(calls.codes)}")
        print(f"  {calls.healthy} sound calls answered in between")
        problems += [*calls.problems, *_growth(calls.rss_mb)]
        print(f"  {time.monotonic() - started_s:.0f} s")
    with tempfile.TemporaryDirectory(prefix="headrace-fuzz-") as folder:
        started_s = time.monotonic()
        events = fuzz_events(Path(folder), options.seed, options.events)
        print(f"{events.reasons.total()} events, seed {options.seed}: {_shown(events.reasons)}")
        problems += [*events.problems, *_growth(events.rss_mb)]
        print(f"  {time.monotonic() - started_s:.0f} s")
    print(f"{len(problems)} problems")
    for problem in problems[:_SHOWN]:
        print(f"  {problem}")
    return 1 if problems else 0


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _growth(rss_mb: Sequence[float]) -> list[str]:
    first, last = rss_mb
    print(f"  memory {first:.0f} MB behind a tenth, {last:.0f} MB at the end")
    return [] if last <= (1 + _MOST_GROWTH) * first else [f"memory grew from {first:.0f} to {last:.0f} MB"]


if __name__ == "__main__":
    sys.exit(main())
