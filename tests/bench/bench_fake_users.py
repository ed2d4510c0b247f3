"""What 1 % fake users gain for one item: `python tests/bench/bench_fake_users.py --limit 20000`.

ML-100k passes the trainer's own code in time order; from the middle on fake users come in between, for each target one
to a hundred real ones. They rate what is popular, as camouflage, and push their target, once or again and again. At
five moments the ten best items of every real user are made: exposure is the share of those lists that hold the target.
The control is the same stream without them. A line a target, then all together, and the events at which the gate would
have held a version (it is told to release each, so that the attack goes on).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from features.label_config import derived_labels
from tests.bench.learning_data import DataSet, load_data
from trainer.config import GateConfig, LearnerConfig
from trainer.evaluation.replay import Replay
from trainer.evaluation.stream import Entry, Stream
from trainer.gate import Gate
from trainer.gate_orders import RELEASE, GateOrder
from trainer.online_learner import OnlineLearner

TOP, MOMENTS = 10, 5
BOUND = 2.0
"""Of exposure, relative to the control."""


@dataclass
class Attack:
    """Who pushes what, how hard."""

    targets: list[str]
    likes: int
    """Ratings of its target by each fake user."""
    camouflage: int
    """Ratings of popular items by each."""
    share: float
    seed: int = 1


@dataclass
class Exposure:
    """What came of a run."""

    lists: int = 0
    shown: Counter[str] = field(default_factory=Counter)
    holds: list[str] = field(default_factory=list)

    def share(self, item_id: str) -> float:
        """Return the share of lists that hold an item; half a list where none does, so that ratios exist."""
        return max(self.shown[item_id], 0.5) / max(self.lists, 1)


def targets_of(entries: Sequence[Entry], count: int) -> list[str]:
    """Return items from the middle of popularity down: known, and seldom on a list."""
    ranked = [item for item, _ in Counter(entry.sample.items[0].item_id for entry in entries).most_common()]
    return [ranked[len(ranked) * place // (count + 3)] for place in range(2, count + 2)]


def with_fakes(entries: Sequence[Entry], attack: Attack) -> list[Entry]:
    """Return a stream with the fake users' ratings in its second half, in time order."""
    rng = random.Random(attack.seed)
    half = list(entries[len(entries) // 2 :])
    popular = [item for item, _ in Counter(e.sample.items[0].item_id for e in entries).most_common(50)]
    fakes = max(1, round(attack.share * len({entry.sample.user_id for entry in entries})))
    made: list[Entry] = []
    for target in attack.targets:
        for number in range(fakes):
            items = [target] * attack.likes + rng.choices(popular, k=attack.camouflage)
            made += [
                _rating(f"fake-{target}-{number}", item, rng.choice(half), len(made) + n)
                for n, item in enumerate(items)
            ]
    return sorted([*entries, *made], key=lambda entry: entry.time_ms)


def _rating(user_id: str, item_id: str, at: Entry, number: int) -> Entry:
    event_id = f"fake-{number:09d}"
    sample = msgspec.structs.replace(
        at.sample,
        sample_id=event_id,
        event_id=event_id,
        user_id=user_id,
        value=5.0,
        outcome=1,
        items=[msgspec.structs.replace(at.sample.items[0], item_id=item_id)],
    )
    return Entry(at.time_ms, sample)


def run(data: DataSet, entries: list[Entry], users: Sequence[str], from_ms: int) -> Exposure:
    """Replay a stream and make lists of all users on the way."""
    gates = GateConfig(is_enabled=True)
    learner = OnlineLearner(
        data.app, LearnerConfig(), lists_only_seen=True, labels=derived_labels(data.app), gate=gates
    )
    gate, found, cuts = Gate(gates), Exposure(), 0
    steps = [from_ms + (entries[-1].time_ms - from_ms) * (n + 1) // MOMENTS for n in range(MOMENTS)]

    def look(done: int) -> None:
        nonlocal cuts
        cuts += 1
        now_ms = entries[done - 1].time_ms
        reason = gate.judge(learner)
        gate.follow_cut(learner, f"1.{cuts}", reason, now_ms, cuts)
        if reason:
            found.holds.append(f"event {done}: {reason}")
            gate.follow_order(GateOrder(name=data.app.name, order=RELEASE, version=f"1.{cuts}"))
        while steps and now_ms >= steps[0]:
            steps.pop(0)
            _show(learner, users, now_ms, found)

    Replay(learner, Stream(entries, data.stream.item_records, len(entries)), on_progress=look).run()
    return found


def _show(learner: OnlineLearner, users: Sequence[str], now_ms: int, found: Exposure) -> None:
    """Make the list of each user, of what the user had nothing to do with yet."""
    builder = learner.builder
    builder.begin_batch()
    ids = builder.items.item_ids
    for user_id in users:
        moment = builder.moment(user_id, now_ms)
        candidates = builder.build(moment, learner.retrieval.query(user_id, moment), now_ms)
        if not len(candidates.rows):
            continue
        scores = learner.ranker.predict(candidates.inputs)
        best = candidates.rows[np.argsort(-scores, kind="stable")[:TOP]]
        found.lists += 1
        found.shown.update(ids[row] for row in best.tolist())


def main() -> int:
    """Compare both streams; return 1 where exposure grew beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=20_000, help="events of the stream (20000)")
    parser.add_argument("--targets", type=int, default=5, help="items pushed, each by fake users of its own (5)")
    parser.add_argument("--likes", type=int, nargs="+", default=[1, 20], help="ratings of its target by each (1 20)")
    parser.add_argument("--camouflage", type=int, default=20, help="ratings of popular items by each (20)")
    parser.add_argument("--share", type=float, default=0.01, help="fake users to one real, for each target (0.01)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_data("ml-100k", options.limit)
    entries = data.stream.entries
    users = sorted({entry.sample.user_id for entry in entries})
    from_ms = entries[len(entries) // 2].time_ms
    targets = targets_of(entries[: len(entries) // 2], options.targets)
    control = run(data, entries, users, from_ms)
    print(f"control: {control.lists} lists of {len(users)} users, {len(control.holds)} holds", flush=True)
    is_missed = False
    for likes in options.likes:
        attack = Attack(targets, likes, options.camouflage, options.share)
        pushed = run(data, with_fakes(entries, attack), users, from_ms)
        for item in targets:
            was, now = control.share(item), pushed.share(item)
            print(f"  {item}: {was:.4f} -> {now:.4f}, {now / was:.1f} x")
        before, after = (sum(found.share(item) for item in targets) for found in (control, pushed))
        is_missed |= after / before > BOUND
        print(
            f"{likes} ratings each: exposure {after / before:.2f} x the control, {len(pushed.holds)} holds", flush=True
        )
        for hold in pushed.holds[:5]:
            print(f"  held at {hold}", flush=True)
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
