"""Seeded mixes of up to three faults on the whole stack: `python tests/faults/long.py --seeds 1..200`.

One stack for all of them, every part of it behind lines of its own (`edged_stack.py`). Each mix sends 20,000 events of
the oracle's streams and asks for lists meanwhile; then everything is healed, and all invariants are checked
(`invariants.py`). A line a mix goes to `ledger.jsonl` beside this file; seeds that stand there are not run again, so a
long series can be run in pieces. Exit code 1 where a mix broke an invariant. `--kind garbage` has no faults but the
records that are none, one in a hundred: nothing may start again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.faults.edged_stack import edged_stack  # noqa: E402
from tests.faults.invariants import Verdict  # noqa: E402
from tests.faults.mix_run import Load, MixRunner  # noqa: E402
from tests.faults.schedule import describe, make_mix, make_none, make_swizzle  # noqa: E402
from tests.oracle.run import say, seeds_of  # noqa: E402

LEDGER = Path(__file__).with_name("ledger.jsonl")
MAKERS = {"mix": make_mix, "swizzle": make_swizzle, "garbage": make_none}
_SHOWN = 8


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def seeds_left(ledger: Sequence[dict[str, Any]], kind: str, events: int, seeds: Sequence[int]) -> list[int]:
    """Return the seeds that have not passed yet with at least so many events."""
    done = {
        line["seed"]
        for line in ledger
        if line["kind"] == kind and not line["problems"] and line["figures"]["events"] >= 0.75 * events
    }
    return [seed for seed in seeds if seed not in done]


def ledger_line(kind: str, seed: int, schedule: str, verdict: Verdict) -> dict[str, Any]:
    """Return what is written down of one mix."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    problems = verdict.problems[:_SHOWN]
    return {
        "kind": kind,
        "seed": seed,
        "day": day,
        "schedule": schedule,
        "problems": problems,
        "figures": verdict.figures,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that are left; return 1 where one broke an invariant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1..200"), help="7 or 1..200 (default)")
    parser.add_argument("--kind", choices=sorted(MAKERS), default="mix", help="schedules of which kind (mix)")
    parser.add_argument("--events", type=int, default=20_000, help="events of a mix (20000)")
    parser.add_argument("--rate", type=float, default=300.0, help="records a second (300)")
    parser.add_argument("--ledger", type=Path, default=LEDGER, help="where mixes are written down")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no mix later than this")
    options = parser.parse_args(arguments)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    seeds = seeds_left(read_ledger(options.ledger), options.kind, options.events, options.seeds)
    started_s, failed, run = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="headrace-faults-") as folder, edged_stack(Path(folder)) as stack:
        runner = MixRunner(stack, Path(folder), Load(options.events, options.rate), say)
        for seed in seeds:
            if time.monotonic() - started_s > 60.0 * options.minutes:
                break
            schedule = describe(MAKERS[options.kind](seed))
            say(f"{options.kind} {seed}: {schedule}")
            verdict = runner.run(seed, MAKERS[options.kind](seed))
            run, failed = run + 1, failed + bool(verdict.problems)
            with options.ledger.open("a", encoding="utf-8") as file:
                file.write(json.dumps(ledger_line(options.kind, seed, schedule, verdict)) + "\n")
            say(f"{'  BROKEN: ' + '; '.join(verdict.problems[:_SHOWN]) if verdict.problems else '  all hold'}")
            say(f"  {verdict.figures}")
        runner.close()
    say(f"{run - failed} of {run} mixes held, {len(seeds) - run} are left")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
