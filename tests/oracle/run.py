"""Hold seeded streams against the plain replay, all on one stack: `python tests/oracle/run.py --seeds 1..50`.

Streams of a wave are sent at once, and parts are killed with -9 while they come. A line per seed, then the summary.
Exit code 1 where a seed differs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose.local_stack import LocalStack  # noqa: E402
from tests.oracle.checker import Oracle  # noqa: E402
from tests.oracle.oracle_stack import PARTS, OracleStack, play, wait_settled, write_config  # noqa: E402
from tests.oracle.stream_maker import make_kills, make_stream  # noqa: E402


def seeds_of(text: str) -> list[int]:
    """Read `7` or `1..50`.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    first, _, last = text.partition("..")
    if not first.isdigit() or not (last or first).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no seed and no range; write 7 or 1..50")
    return list(range(int(first), int(last or first) + 1))


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def run_wave(stack: OracleStack, oracle: Oracle, seeds: Sequence[int], kills_of: int) -> tuple[int, int, int]:
    """Send the streams of these seeds and judge each; return how many were equal, their events and values."""
    run, now_ms = f"{time.time_ns() // 1_000_000:x}", time.time_ns() // 1_000_000
    streams = [make_stream(seed, run, now_ms) for seed in seeds]
    for stream in streams:
        say(stream.describe())
    kills = [kill for seed in seeds[:kills_of] for kill in make_kills(seed)]
    play(stack, streams, kills, say)
    seconds = wait_settled(stack)
    equal = events = values = 0
    for stream in streams:
        findings = oracle.judge(stream.prefix)
        verdict = "equal" if findings.is_equal else "DIFFERS"
        say(f"seed {stream.seed}: {verdict} after {seconds:.0f} s, {findings.report()}")
        equal, events, values = equal + findings.is_equal, events + findings.events, values + findings.values
    return equal, events, values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1..50"), help="7 or 1..50 (default)")
    parser.add_argument("--together", type=int, default=5, help="streams of one wave, sent at once (5)")
    parser.add_argument("--kills", type=int, default=1, help="TaskManagers, and ingesters, killed in a wave (1)")
    options = parser.parse_args(arguments)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    seeds: list[int] = options.seeds
    totals = [0, 0, 0]
    with tempfile.TemporaryDirectory(prefix="headrace-oracle-") as folder:
        config = write_config(Path(folder))
        with LocalStack(config, Path(folder) / "state", parts=PARTS) as local:
            stack = OracleStack(local, config, yaml.safe_load(config.read_text()), local.start())
            oracle = Oracle(stack)
            for start in range(0, len(seeds), options.together):
                wave = run_wave(stack, oracle, seeds[start : start + options.together], options.kills)
                totals = [sum(pair) for pair in zip(totals, wave, strict=True)]
            oracle.close()
    say(f"{totals[0]} of {len(seeds)} equal, {totals[1]} events, {totals[2]} values compared")
    return 0 if totals[0] == len(seeds) else 1


if __name__ == "__main__":
    sys.exit(main())
