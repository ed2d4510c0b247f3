"""The online learner: one function that takes a micro-batch through prepare, predict, measure, learn.

Prediction comes strictly before learning, here and nowhere else. Tables are fed sample by sample, each after the list
that its event will be judged on is built; weights change once a micro-batch, after all its predictions are taken.
Letters: `n` items of a list, `F` ranker inputs, `T` rows of all lists of a batch, `K` heads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from features.config import AppConfig
from features.count_tables import CountTables
from features.label_config import Labels, derived_labels
from features.model_inputs import feature_schema_hash, ranker_input_names
from trainer.config import GateConfig, LearnerConfig, SlicesConfig
from trainer.counters_score import CountersScore
from trainer.drift import DriftMonitor
from trainer.head_targets import HeadTargets
from trainer.learner import Learner
from trainer.learner_state import LearnerState, Progress
from trainer.list_builder import ListBuilder
from trainer.list_measures import mean_loss, measure_lists, shown_list
from trainer.list_sampling import sampled_rows
from trainer.metrics import PrequentialMetrics
from trainer.named_arrays import with_prefix
from trainer.open_lists import OpenList
from trainer.pre_ranker_learner import PreRankerLearner
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.rating_learner import RatingLearner
from trainer.retrieval_learner import Positive, RetrievalLearner
from trainer.sample_preparer import FedLearners, Prepared, SamplePreparer
from trainer.samples import Sample
from trainer.step_outcome import RefusedStep, StepOutcome

_PARTS = (
    "model",
    "items",
    "users",
    "counts",
    "lists",
    "tower",
    "ranker",
    "pre_ranker",
    "ratings",
    "learnt_once",
    "user_cap",
    "learner",
)

_KEPT_REFUSED = 6


class OnlineLearner:
    """Everything that is a function of the samples: tables, weights, optimisers, what was learnt once, metrics.

    Args:
        app: actions and features.
        config: sizes and rates.
        device: `cpu` or `cuda`.
        lists_only_seen: build lists of items that had an event only, as `evaluate` must.
        labels: what events teach, and their weights; those of the app's actions by default.
        slices: whose metrics are told apart.
        gate: what is kept for its windows; without one nothing is.
    """

    def __init__(
        self,
        app: AppConfig,
        config: LearnerConfig,
        device: str = "cpu",
        lists_only_seen: bool = False,
        labels: Labels | None = None,
        slices: SlicesConfig | None = None,
        gate: GateConfig | None = None,
    ) -> None:
        gate = gate or GateConfig(is_enabled=False)
        self.app = app
        self.labels = labels or derived_labels(app)
        self.config = config
        self.schema_hash = feature_schema_hash(app.features)
        self.num_inputs = len(ranker_input_names(app.features))
        self.builder = ListBuilder(app.features, lists_only_seen)
        self.heads = HeadTargets(self.labels)
        steps = config.step_config(self.heads.first_scales)
        self.weights = Learner(steps, self.num_inputs, len(self.builder.pre_ranker), device)
        self.model, self.ranker = self.weights.model, self.weights.ranker
        self.retrieval = RetrievalLearner(self.weights.tower, self.builder.items, config)
        self.model.pre_ranker.copy_(torch.from_numpy(self.builder.pre_ranker))
        self.pre_ranker = PreRankerLearner(self.builder.pre_ranker, config.pre_ranker_learning_rate, config.update_clip)
        self.ratings = RatingLearner(app, config.seed, config.update_clip)
        self.counters_score = CountersScore(app.features) if gate.is_enabled else None
        self.metrics = PrequentialMetrics(round(1000 * self.labels.window_s), self.judged_heads, gate)
        fed = FedLearners(self.retrieval, self.pre_ranker, self.ratings)
        aged_after_ms = round(3_600_000 * gate.aged_after_h) if gate.is_enabled else None
        self.preparer = SamplePreparer(app, config, self.labels, self.heads, self.builder, fed, slices, aged_after_ms)
        self.learnt_once, self.user_cap = self.preparer.learnt_once, self.preparer.user_cap
        self.drift = DriftMonitor(config.drift)
        self.recent_inputs: NDArray[np.float32] = np.zeros((0, self.num_inputs), dtype=np.float32)
        """Rows of the newest list, for the canary of a version."""
        self.refused_steps: deque[RefusedStep] = deque(maxlen=_KEPT_REFUSED)

    @property
    def progress(self) -> Progress:
        """How far this learner is, and what it met."""
        return self.preparer.progress

    @property
    def judged_heads(self) -> tuple[str, ...]:
        """Names of the heads whose chances are judged: all, or none where they are not learnt."""
        return self.heads.names if self.config.heads_weight else ()

    def learn_batch(self, samples: Sequence[Sample], held: Sequence[bool] = ()) -> None:
        """Predict, measure and learn one micro-batch in sample order; duplicates and bad samples change nothing.

        Args:
            samples: the micro-batch.
            held: of each sample, whether its window is held: it counts in every table and teaches no weights.
        """
        self.retrieval.refresh_index()
        self.builder.begin_batch()
        events = self.progress.events
        prepared = self.preparer.prepare(samples, held)
        self._learn_prepared(prepared, samples, self.progress.events - events)
        self.progress.samples += len(samples)

    def learn_released(self, samples: Sequence[Sample]) -> None:
        """Learn samples that were held, in one micro-batch: the weights only, as they are counted already."""
        self.retrieval.refresh_index()
        self.builder.begin_batch()
        self._learn_prepared(self.preparer.prepare_released(samples), samples, 0)
        self.progress.released += len(samples)

    def _learn_prepared(self, prepared: Prepared, samples: Sequence[Sample], new_events: int) -> None:
        lists = [open_list for open_list in prepared.lists if open_list.teaches]
        logits = self._predict(lists)
        measure_lists(self.metrics, lists, logits, prepared.missed, self.counters_score)
        for choice in prepared.choices:
            self.metrics.judgement.blocks.open.reach.observe_choice(*choice)
        scores = {id(open_list): one for open_list, one in zip(lists, logits, strict=True)}
        self._measure_settling(scores, self._predict_heads(lists), prepared.served, samples)
        rate = len(prepared.positives) / new_events if new_events else math.nan
        self.drift.observe(mean_loss(lists, logits), rate, self.progress.step + 1)
        self._learn(lists, logits, prepared.positives)

    def forget_user(self, user_id: str) -> None:
        """Forget a user: history, counters, embedding row, ratings. Sums over all users keep what they are."""
        self.builder.settle()
        self.builder.users.forget(user_id)
        self.weights.tower.user_rows.forget(user_id)
        self.ratings.forget_user(user_id)

    def state(self) -> LearnerState:
        """Return a copy of everything, as of the batch boundary at which it is called."""
        arrays: dict[str, dict[str, NDArray[Any]]] = {
            "model": dict(self.model.dense()),
            "items": self.builder.items.arrays(),
            "users": self.builder.users.arrays(),
            "counts": self.builder.counts.arrays(len(self.builder.items)),
            "lists": self.builder.arrays(),
            "tower": self.retrieval.arrays(),
            "ranker": self.ranker.arrays(),
            "pre_ranker": self.pre_ranker.arrays(),
            "ratings": self.ratings.arrays(),
            "learnt_once": self.learnt_once.arrays(),
            "user_cap": self.user_cap.arrays(),
            "learner": {
                "recent_inputs": self.recent_inputs,
                "drift": np.frombuffer(self.drift.state(), dtype=np.uint8),
            },
        }
        names = {
            "items": {
                "item_ids": list(self.builder.items.item_ids),
                "categories": self.builder.items.category_names[:],
            },
            "users": self.builder.users.names(),
            "tower": self.weights.tower.names(),
            "ratings": self.ratings.names(),
        }
        return LearnerState(
            arrays={f"{part}/{name}": array for part, content in arrays.items() for name, array in content.items()},
            names={f"{part}/{name}": column for part, content in names.items() for name, column in content.items()},
            progress=replace(self.progress, refused=dict(self.progress.refused)),
            metrics=self.metrics.state(),
        )

    def fits(self, state: LearnerState) -> bool:
        """Say whether a state has this learner's shapes: the same ranker inputs and sizes."""
        own = {f"model/{name}": array.shape for name, array in self.model.dense().items()}
        return own == {name: array.shape for name, array in state.arrays.items() if name.startswith("model/")}

    def restore(self, state: LearnerState) -> None:
        """Take over what `state` returned (one that `fits`): from here on both learners learn alike."""
        parts = {name: with_prefix(state.arrays, f"{name}/") for name in _PARTS}
        self.model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in parts["model"].items()})
        names = state.names
        self.builder.items.restore(names["items/item_ids"], names["items/categories"], parts["items"])
        self.builder.users.restore(_names_with_prefix(names, "users/"), parts["users"])
        self.builder.counts = CountTables.from_arrays({name: array.copy() for name, array in parts["counts"].items()})
        self.builder.restore(parts["lists"])
        self.retrieval.restore(_names_with_prefix(names, "tower/"), parts["tower"])
        self.ranker.restore(parts["ranker"])
        self.pre_ranker.restore(parts["pre_ranker"])
        self.ratings.restore(_names_with_prefix(names, "ratings/"), parts["ratings"])
        self.learnt_once.restore(parts["learnt_once"])
        self.user_cap.restore(parts["user_cap"])
        self.recent_inputs = parts["learner"]["recent_inputs"].copy()
        self.drift.restore(parts["learner"]["drift"].tobytes())
        self.preparer.progress = replace(state.progress, refused=dict(state.progress.refused))
        self.metrics.restore(state.metrics)

    def _predict(self, lists: Sequence[OpenList]) -> list[NDArray[np.float32]]:
        """Score all rows with the weights from before this batch; one array (n,) a list."""
        if not lists:
            return []
        logits = self.ranker.predict(np.concatenate([open_list.inputs for open_list in lists]))
        ends = np.cumsum([len(open_list.labels) for open_list in lists])
        return np.split(logits, ends[:-1])

    def _predict_heads(self, lists: Sequence[OpenList]) -> dict[int, NDArray[np.float32]]:
        """Score the heads of served lists, which are judged; identity of the list -> (n, K)."""
        served = [open_list for open_list in lists if open_list.is_served]
        if not served:
            return {}
        logits = self.ranker.predict_heads(np.concatenate([open_list.inputs for open_list in served]))
        ends = np.cumsum([len(open_list.labels) for open_list in served])
        return dict(zip(map(id, served), np.split(logits, ends[:-1]), strict=True))

    def _measure_settling(
        self,
        logits_of: Mapping[int, NDArray[np.float32]],
        heads_of: Mapping[int, NDArray[np.float32]],
        served: Mapping[str, OpenList],
        samples: Sequence[Sample],
    ) -> None:
        """Keep the first scores of shown lists until their labels settle; scores are by identity of the list."""
        now_ms = self.progress.newest_event_time_ms
        for sample in samples:
            open_list = served.get(sample.request_id or "")
            if open_list is not None and id(open_list) in logits_of:
                name, slices = id(open_list), self.slices_of(sample)
                shown = shown_list(sample, open_list, logits_of[name], heads_of[name], slices, self.counters_score)
                is_impression = sample.kind == "impression"
                self.metrics.settling.observe(
                    sample.request_id or "", shown, is_impression, sample.is_immediate, now_ms
                )
        self.metrics.settle(now_ms)

    def _learn(
        self, lists: Sequence[OpenList], logits: Sequence[NDArray[np.float32]], positives: Sequence[Positive]
    ) -> None:
        step = self.progress.step = self.progress.step + 1
        rate_factor = self.drift.rate_factor(step)
        self._note_step("pre_ranker", self.pre_ranker.learn_batch(rate_factor))
        self.model.pre_ranker.copy_(torch.from_numpy(self.pre_ranker.weights))
        for learnt in self.ratings.learn_batch(step, rate_factor):
            self.metrics.observe_labelled(learnt.chances, learnt.labels)
            for outcome in learnt.outcomes:
                self._note_step("ratings", outcome)
        if lists:
            batch = ListBatch.of_lists(self._labelled(lists, logits, step))
            self._note_step("ranker", self.weights.learn_lists(batch, step, rate_factor))
            self.recent_inputs = lists[-1].inputs[:32]
        if positives:
            drawn = self.retrieval.batch_of(positives, step, self.progress.newest_event_time_ms)
            self._note_step("tower", self.weights.learn_positives(drawn))
        self.metrics.judgement.blocks.close_when_full()

    def _labelled(
        self, lists: Sequence[OpenList], logits: Sequence[NDArray[np.float32]], step: int
    ) -> list[LabelledList]:
        """Return lists as they are learnt: shown ones whole, of others a sample that is a function of (seed, step)."""
        offsets = np.random.default_rng((self.config.seed, step)).random(len(lists)).tolist()
        strongest, drawn = self.config.strongest_rivals, self.config.drawn_rivals
        return [
            one.labelled()
            if one.is_served
            else one.sampled(*sampled_rows(scores, one.target, strongest, drawn, offset))
            for one, scores, offset in zip(lists, logits, offsets, strict=True)
        ]

    def _note_step(self, part: str, outcome: StepOutcome) -> None:
        self.progress.clipped_steps += outcome.was_clipped
        if not outcome.is_taken:
            self.progress.non_finite_steps += 1
            self.refused_steps.append(RefusedStep(part, self.progress.step, outcome.refusal, outcome.batch))

    def refuse(self, reason: str) -> None:
        """Count a sample that cannot be learnt."""
        self.preparer.refuse(reason)

    def slices_of(self, sample: Sample) -> tuple[str, ...]:
        """Return the slices of a sample as of now."""
        return self.preparer.slices_of(sample)

    def canary_inputs(self) -> NDArray[np.float32]:
        """Return rows that the ranker saw lately, seeded ones before it saw any; (C, F)."""
        if len(self.recent_inputs):
            return self.recent_inputs.copy()
        random = np.random.default_rng(self.config.seed)
        return random.standard_normal((8, self.num_inputs), dtype=np.float32)

    def take_refused_steps(self) -> list[RefusedStep]:
        """Return the newest steps that were not taken since the last call; at most a few are kept."""
        refused = list(self.refused_steps)
        self.refused_steps.clear()
        return refused


def _names_with_prefix(names: Mapping[str, list[str]], prefix: str) -> dict[str, list[str]]:
    return {name.removeprefix(prefix): column for name, column in names.items() if name.startswith(prefix)}
