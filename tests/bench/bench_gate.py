"""How surely the gate holds a learner whose labels are shuffled: `python tests/bench/bench_gate.py --seeds 1..20`.

`--stream movietweetings` or `ml-100k` lets a real stream pass by instead, with a cut behind each micro-batch: what is
held there is a false alarm. Prints each hold with the event it came at, then releases it and goes on.

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

import torch

from features.label_config import derived_labels
from tests.bench.learning_data import NoDataError, load_data
from tests.oracle.run import seeds_of
from tests.trainer.shuffled_streams import Shop
from trainer.config import GateConfig, LearnerConfig
from trainer.evaluation.replay import Replay
from trainer.gate import Gate
from trainer.gate_orders import RELEASE, GateOrder
from trainer.online_learner import OnlineLearner


def main() -> int:
    """Run the seeds; return 1 where one was held too early or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("1..20"), help="7 or 1..20 (default)")
    parser.add_argument("--clean", type=int, default=6000, help="lists with true labels (6000)")
    parser.add_argument("--shuffled", type=int, default=4000, help="lists with shuffled labels at most (4000)")
    parser.add_argument("--stream", choices=("movietweetings", "ml-100k"), help="a real stream in place of seeds")
    parser.add_argument("--limit", type=int, help="its first events only")
    options = parser.parse_args()
    if options.stream:
        return watch_stream(options.stream, options.limit)
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


def watch_stream(name: str, limit: int | None) -> int:
    """Run a real stream behind the gate; return 1 where anything was held, 0 also where the data is not here."""
    try:
        data = load_data(name, limit)
    except NoDataError as error:
        print(error)
        return 0
    torch.set_num_threads(1)
    config = GateConfig(is_enabled=True)
    learner = OnlineLearner(
        data.app, LearnerConfig(), lists_only_seen=True, labels=derived_labels(data.app), gate=config
    )
    gate, cuts, held = Gate(config), 0, 0

    def cut(done: int) -> None:
        nonlocal cuts, held
        cuts += 1
        reason = gate.judge(learner)
        gate.follow_cut(learner, f"1.{cuts}", reason, data.stream.entries[done - 1].time_ms, cuts)
        if reason:
            held += 1
            print(f"event {done}: held: {reason}", flush=True)
            gate.follow_order(GateOrder(name=data.app.name, order=RELEASE, version=f"1.{cuts}"))

    Replay(learner, data.stream, on_progress=cut).run()
    looks = learner.metrics.judgement.blocks.num_closed
    print(f"{name}: {len(data.stream.entries)} events, {cuts} cuts, {looks} looks, {held} held")
    return int(held > 0)


if __name__ == "__main__":
    sys.exit(main())
