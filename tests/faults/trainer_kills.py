"""Kill a trainer -9 again and again and hold its end against one run without: `python tests/faults/trainer_kills.py`.

The trainer is the real one, loop, batch log, checkpoints and publisher; samples come from a file instead of Kafka, and
each start is forked from a process that has imported torch already. It is killed at random moments, and in the middle
of writes, fsyncs and renames of batch log, checkpoints and versions. At its end every array, id and counter must be,
bit for bit, what one run over its batch log gives, and every sample must stand in one batch. A line a seed, then the
total.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

# Run as a file, so the checkout must be put on the path first. Hence E402 below.
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.faults.file_logs import FileLog  # noqa: E402
from tests.faults.kill_stream import write_release, write_stream  # noqa: E402
from tests.faults.killed_trainer import (  # noqa: E402
    FailPoint,
    final_outcome,
    learn_until_told,
    replay_whole,
    run_in_process,
)
from tests.oracle.run import seeds_of  # noqa: E402

_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What a seed came to."""

    seed: int
    problems: list[str]
    kills: int
    in_writes: int
    batches: int
    seconds: float

    def line(self) -> str:
        """Return the line of a report."""
        verdict = "equal" if not self.problems else "DIFFERS: " + "; ".join(self.problems)
        return (
            f"seed {self.seed}: {verdict}, {self.kills} kills ({self.in_writes} in the middle of a write, fsync or "
            f"rename), {self.batches} log entries, {self.seconds:.0f} s"
        )


def run_seed(seed: int, folder: Path, size: int, kills: int) -> Outcome:
    """Kill a trainer `kills` times, let it end, and judge it."""
    started_s = time.monotonic()
    random_ = random.Random(seed)
    num_samples, num_events = write_stream(folder, seed, size)
    done = in_writes = 0
    for turn in range(kills):
        if turn >= kills // 2:
            _release_once_held(folder)
        was_killed, by_itself = _kill_once(folder, random_)
        done, in_writes = done + was_killed, in_writes + by_itself
    pid = run_in_process(lambda: learn_until_told(folder, None))
    problems = [] if _wait_learnt(folder, pid) else ["the last trainer did not come to the end"]
    os.kill(pid, signal.SIGTERM)
    problems += _exit_problems(pid)
    problems += _exit_problems(run_in_process(lambda: replay_whole(folder)))
    batches = 0
    if not problems:
        expected = msgspec.json.decode((folder / "expected.json").read_bytes())
        actual, batches = final_outcome(folder), expected["position"]
        progress = actual["progress"]
        facts = {
            "the state is another": actual["digest"] == expected["digest"],
            "the checkpoint does not stand at the end of the log": actual["position"] == batches,
            "records stand in two batches or none": expected["repeated"] == 0,
            f"{progress.samples} samples learnt of {num_samples}": progress.samples == num_samples,
            f"{progress.events} events counted of {num_events}": progress.events == num_events,
            "nothing was held": progress.held > 0,
            "what was held was not released": progress.released >= progress.held,
        }
        problems = [problem for problem, is_so in facts.items() if not is_so]
    return Outcome(seed, problems, done, in_writes, batches, time.monotonic() - started_s)


def _kill_once(folder: Path, random_: random.Random) -> tuple[bool, bool]:
    """Start a trainer and kill it; return whether it died of it, and whether in the middle of a write."""
    fail_point = None
    if random_.random() < 0.6:
        function = random_.choice(["fsync", "fsync", "rename", "rename", "replace", "write"])
        fail_point = FailPoint(function, random_.randint(1, 25), random_.random() < 0.5)
    pid = run_in_process(lambda: learn_until_told(folder, fail_point))
    deadline_s = time.monotonic() + (3.0 if fail_point else random_.uniform(0.02, 1.2))
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.WIFSIGNALED(status), True
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True, False


def _wait_learnt(folder: Path, pid: int) -> bool:
    """Wait until the trainer's status says that everything is learnt, released windows included.

    For as long as it gets on: a loaded machine may take minutes, one that stands still for two is stuck.
    """
    ends, offsets = FileLog(folder / "samples.jsonl").end_offsets(), None
    deadline_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline_s:
        status = _status(folder)
        if status.get("offsets") != offsets:
            offsets, deadline_s = status.get("offsets"), time.monotonic() + _TIMEOUT_S
        is_released = _release_once_held(folder)
        if (
            is_released
            and status.get("pid") == pid
            and status["offsets"] == ends
            and status["holds"]["deferred_windows"] == 0
        ):
            return True
        time.sleep(0.02)
    return False


def _release_once_held(folder: Path) -> bool:
    """Let the window go as soon as samples of it are held; say whether it is."""
    mark = folder / "released"
    if not mark.exists() and _status(folder).get("progress", {}).get("held", 0) > 0:
        write_release(folder)
        mark.touch()
        return False
    return mark.exists()


def _status(folder: Path) -> dict[str, Any]:
    path = folder / "trainer.json"
    status: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    return status


def _exit_problems(pid: int) -> list[str]:
    _, status = os.waitpid(pid, 0)
    return [] if status == 0 else [f"a process ended with {os.waitstatus_to_exitcode(status)}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1..50"), help="7 or 1..50 (default)")
    parser.add_argument("--samples", type=int, default=1200, help="samples of a stream (1200)")
    parser.add_argument("--kills", type=int, default=8, help="kills of a seed (8)")
    options = parser.parse_args(arguments)
    outcomes = []
    for seed in options.seeds:
        folder = Path(tempfile.mkdtemp(prefix=f"headrace-kills-{seed}-"))
        outcomes.append(run_seed(seed, folder, options.samples, options.kills))
        print(outcomes[-1].line(), flush=True)
        if outcomes[-1].problems:
            print(f"  its state is in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    equal = sum(not outcome.problems for outcome in outcomes)
    kills, in_writes = sum(o.kills for o in outcomes), sum(o.in_writes for o in outcomes)
    print(f"{equal} of {len(outcomes)} equal after {kills} kills, {in_writes} of them in the middle of a write")
    return 0 if equal == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
