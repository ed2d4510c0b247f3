"""A trainer to be killed, and the run without a kill that its end is held against. Both are processes."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

import trainer.status
from tests.faults.file_logs import FileHoldLog, FileLog
from tests.faults.kill_stream import APP, CONFIG
from tests.trainer.memory_topics import MemoryTopics
from trainer.batch_log import read_log
from trainer.batch_machine import BatchMachine
from trainer.batch_records import BatchEntry
from trainer.checkpoint import CheckpointStore
from trainer.holds import Holds
from trainer.learner_state import LearnerState
from trainer.online_learner import OnlineLearner
from trainer.replay import Replay
from trainer.sample_log import SAMPLES_TOPIC
from trainer.startup import Places, Startup
from trainer.version_files import LocalVersions


class FailPoint(NamedTuple):
    """The moment of a kill: at the n-th call of a function of `os`, before it, after it, or in its middle."""

    function: str
    """`fsync`, `rename`, `replace`, or `write` of the batch log (half of the bytes)."""
    number: int
    is_after: bool

    def arm(self) -> None:
        """Have this process killed there."""
        calls = 0
        real: Callable[..., Any] = getattr(os, self.function)

        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < self.number:
                return real(*arguments, **named)
            if self.function == "write":
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            elif self.is_after:
                real(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, self.function, call)


def run_in_process(work: Callable[[], None]) -> int:
    """Fork, do `work` in the child, and return its pid; the child ends with exit code 0, or 1 where `work` raised."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        logging.exception("the forked process failed")
        os._exit(1)
    os._exit(0)


def learn_until_told(folder: Path, fail_point: FailPoint | None) -> None:
    """Run the trainer over the files in `folder` until SIGTERM, as `python -m trainer` does."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    torch.set_num_threads(1)
    trainer.status.INTERVAL_S = 0.05
    logging.basicConfig(filename=folder / "trainer.log", level=logging.INFO, force=True)
    if fail_point is not None:
        fail_point.arm()
    holds = Holds(APP.name, FileHoldLog(folder / "holds.jsonl", folder / "samples.jsonl"))
    startup = Startup(OnlineLearner(APP, CONFIG.learner), CONFIG, places_of(folder), holds)
    running = startup.open_trainer(FileLog(folder / "samples.jsonl"), MemoryTopics(), stop.is_set)
    if running is not None:
        running.run(stop.is_set, (folder / "ready").touch, catch_up_first=False)


def replay_whole(folder: Path) -> None:
    """Learn the whole batch log in one go and write what comes out to `expected.json`."""
    torch.set_num_threads(1)
    holds = Holds(APP.name, FileHoldLog(folder / "holds.jsonl", folder / "samples.jsonl"))
    machine = BatchMachine(OnlineLearner(APP, CONFIG.learner), holds)
    content = read_log(places_of(folder).batch_log, 0)
    assert not content.damage, content.damage
    replay = Replay(machine, FileLog(folder / "samples.jsonl"))
    replay.apply_all(content.entries)
    assert replay.report.is_exact
    outcome = {
        "digest": digest_of(machine.learner.state(), machine.offsets, holds),
        "position": len(content.entries),
        "repeated": repeated_offsets([entry for entry in content.entries if isinstance(entry, BatchEntry)]),
    }
    (folder / "expected.json").write_bytes(msgspec.json.encode(outcome))


def repeated_offsets(entries: list[BatchEntry]) -> int:
    """Return how many records stand in more than one batch or in none, of the samples up to the last one learnt."""
    found: dict[str, list[int]] = {}
    for entry in entries:
        for run in entry.runs:
            if run.name.startswith(SAMPLES_TOPIC):
                found.setdefault(run.name, []).extend(range(run.first, run.end))
    return sum(offsets != list(range(len(offsets))) for offsets in found.values())


def final_outcome(folder: Path) -> dict[str, Any]:
    """Return the digest and the counters of the newest checkpoint."""
    checkpoint = CheckpointStore(places_of(folder).checkpoints, keep=2).read_newest()
    assert checkpoint is not None
    holds = Holds(APP.name)
    holds.restore(checkpoint.holds)
    return {
        "digest": digest_of(checkpoint.state, checkpoint.offsets, holds),
        "position": checkpoint.position,
        "progress": checkpoint.state.progress,
    }


def digest_of(state: LearnerState, offsets: dict[str, int], holds: Holds) -> str:
    """Hash every array with its name, type and shape, all ids, progress, metrics, offsets and holds."""
    digest = hashlib.sha256()
    for name, array in sorted(state.arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    rest = [state.names, state.progress, state.metrics, dict(sorted(offsets.items())), holds.saved()]
    digest.update(msgspec.json.encode(rest, order="deterministic"))
    return digest.hexdigest()


def places_of(folder: Path) -> Places:
    """Return where the trainer keeps its state."""
    return Places(folder, LocalVersions(folder / "models"))
