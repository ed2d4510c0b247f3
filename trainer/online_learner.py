"""The online learner: one function that takes a micro-batch through prepare, predict, measure, learn.

Prediction comes strictly before learning, here and nowhere else. Tables are fed sample by sample, each after the list
that its event will be judged on is built; weights change once a micro-batch, after all its predictions are taken.
Letters: `n` items of a list, `F` ranker inputs, `T` rows of all lists of a batch, `K` heads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from features.candidates import CandidateList
from features.config import AppConfig
from features.count_tables import CountTables
from features.label_config import Labels, derived_labels
from features.model_inputs import feature_schema_hash, ranker_input_names
from trainer.config import LearnerConfig, SlicesConfig
from trainer.drift import DriftMonitor
from trainer.errors import SampleError
from trainer.head_targets import HeadTargets
from trainer.learner import Learner
from trainer.learner_state import LearnerState, Progress
from trainer.list_builder import ListBuilder, UserMoment
from trainer.list_measures import mean_loss, measure_lists, shown_list
from trainer.list_sampling import sampled_rows
from trainer.metrics import PrequentialMetrics
from trainer.named_arrays import with_prefix
from trainer.open_lists import OpenList
from trainer.pre_ranker_learner import PreRankerLearner
from trainer.ranker_learner import LabelledList, ListBatch
from trainer.rating_learner import RatingLearner
from trainer.retrieval_learner import Positive, RetrievalLearner
from trainer.samples import HEAD, Event, LearntOnce, Sample, ServedList, label_key, served_list
from trainer.slices import NEW_USER_EVENTS, Slices
from trainer.step_outcome import RefusedStep, StepOutcome
from trainer.user_cap import UserCap

_PARTS = (
    "model",
    "items",
    "users",
    "counts",
    "tower",
    "ranker",
    "pre_ranker",
    "ratings",
    "learnt_once",
    "user_cap",
    "learner",
)

_HELD, _RELEASED = "held", "released"
"""Heads of the keys of events that were counted while held, and of those learnt since."""

_TOLD = "told"
"""Head of the key of a request of which feedback was learnt."""

_SLACK_MS = 3_600_000
"""What was learnt is remembered this much longer than a list can be corrected."""

_KEPT_REFUSED = 6


@dataclass
class _Prepared:
    lists: list[OpenList] = field(default_factory=list)
    served: dict[str, OpenList] = field(default_factory=dict)
    positives: list[Positive] = field(default_factory=list)
    missed: list[tuple[str, ...]] = field(default_factory=list)
    """Scored organic positives whose target no candidate source found, each by its slices."""


class OnlineLearner:
    """Everything that is a function of the samples: tables, weights, optimisers, what was learnt once, metrics.

    Args:
        app: actions and features.
        config: sizes and rates.
        device: `cpu` or `cuda`.
        lists_only_seen: build lists of items that had an event only, as `evaluate` must.
        labels: what events teach, and their weights; those of the app's actions by default.
        slices: whose metrics are told apart.
    """

    def __init__(
        self,
        app: AppConfig,
        config: LearnerConfig,
        device: str = "cpu",
        lists_only_seen: bool = False,
        labels: Labels | None = None,
        slices: SlicesConfig | None = None,
    ) -> None:
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
        self.learnt_once = LearntOnce(config.learnt_once_limit, self.labels.horizon_ms + _SLACK_MS)
        self.user_cap = UserCap(
            config.user_weight_cap, config.user_weight_window_s, round(3_600_000 * app.features.horizon_h) + _SLACK_MS
        )
        self.metrics = PrequentialMetrics(round(1000 * self.labels.window_s), self.judged_heads)
        self.slices = Slices(slices or SlicesConfig())
        self.drift = DriftMonitor(config.drift)
        self.progress = Progress()
        self.recent_inputs: NDArray[np.float32] = np.zeros((0, self.num_inputs), dtype=np.float32)
        """Rows of the newest list, for the canary of a version."""
        self.refused_steps: deque[RefusedStep] = deque(maxlen=_KEPT_REFUSED)

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
        self.retrieval.refresh_index(len(samples))
        self.builder.begin_batch()
        events = self.progress.events
        prepared = self._prepare(samples, held)
        self._learn_prepared(prepared, samples, self.progress.events - events)
        self.progress.samples += len(samples)

    def learn_released(self, samples: Sequence[Sample]) -> None:
        """Learn samples that were held, in one micro-batch: the weights only, as they are counted already."""
        self.retrieval.refresh_index(len(samples))
        self.builder.begin_batch()
        prepared = _Prepared()
        for sample in samples:
            try:
                may_teach = self._may_teach(sample, is_released=True)
                self.progress.capped += not may_teach
                self._prepare_released(sample, prepared if may_teach else _Prepared())
            except SampleError as error:
                self.refuse(error.reason)
        self._learn_prepared(prepared, samples, 0)
        self.progress.released += len(samples)

    def _learn_prepared(self, prepared: _Prepared, samples: Sequence[Sample], new_events: int) -> None:
        lists = [open_list for open_list in prepared.lists if open_list.teaches]
        logits = self._predict(lists)
        measure_lists(self.metrics, lists, logits, prepared.missed)
        scores = {id(open_list): one for open_list, one in zip(lists, logits, strict=True)}
        self._measure_settling(scores, self._predict_heads(lists), prepared.served, samples)
        rate = len(prepared.positives) / new_events if new_events else math.nan
        self.drift.observe(mean_loss(lists, logits), rate, self.progress.step + 1)
        self._learn(lists, logits, prepared.positives)

    def state(self) -> LearnerState:
        """Return a copy of everything, as of the batch boundary at which it is called."""
        arrays: dict[str, dict[str, NDArray[Any]]] = {
            "model": dict(self.model.dense()),
            "items": self.builder.items.arrays(),
            "users": self.builder.users.arrays(),
            "counts": self.builder.counts.arrays(len(self.builder.items)),
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
        self.retrieval.restore(_names_with_prefix(names, "tower/"), parts["tower"])
        self.ranker.restore(parts["ranker"])
        self.pre_ranker.restore(parts["pre_ranker"])
        self.ratings.restore(_names_with_prefix(names, "ratings/"), parts["ratings"])
        self.learnt_once.restore(parts["learnt_once"])
        self.user_cap.restore(parts["user_cap"])
        self.recent_inputs = parts["learner"]["recent_inputs"].copy()
        self.drift.restore(parts["learner"]["drift"].tobytes())
        self.progress = replace(state.progress, refused=dict(state.progress.refused))
        self.metrics.restore(state.metrics)

    def _prepare(self, samples: Sequence[Sample], held: Sequence[bool]) -> _Prepared:
        """Turn samples into lists and positives; every event is counted right after its own list is built."""
        prepared = _Prepared()
        for sample, is_held in zip(samples, held or repeat(False, len(samples)), strict=True):
            try:
                self.learnt_once.admit(sample)
                if is_held:
                    self._count_held(sample)
                elif self._may_teach(sample):
                    self._prepare_sample(sample, prepared)
                else:
                    self._pass_over(sample)
            except SampleError as error:
                self.refuse(error.reason)
            self.progress.newest_event_time_ms = max(self.progress.newest_event_time_ms, sample.event_time_ms)
            self.progress.newest_broker_time_ms = max(self.progress.newest_broker_time_ms, sample.broker_time_ms or 0)
        return prepared

    def refuse(self, reason: str) -> None:
        """Count a sample that cannot be learnt."""
        self.progress.refused[reason] = self.progress.refused.get(reason, 0) + 1

    def _prepare_sample(self, sample: Sample, prepared: _Prepared) -> None:
        event = sample.event
        if event is None:
            self._open_impression(sample, prepared)
            return
        is_new = self.learnt_once.add(label_key(event.event_id, event.item_id, "event", event.outcome))
        self.progress.duplicates += not is_new
        known = self._known(sample)
        if sample.kind == "correction":
            try:
                self._open_correction(sample, known, prepared)
            except SampleError as error:  # The list is of no use, what the user did still counts.
                self.refuse(error.reason)
        if is_new:
            if weight := self._weight(known):
                moment = self.builder.moment(event.user_id, event.event_time_ms)
                if sample.kind == "organic":
                    heads = self.heads.happened(known)
                    self._open_organic(event, weight, heads, moment, prepared, self.slices_of(sample))
                self._add_positive(event, moment, prepared)
            self._count_event(event, sample, is_held=False)

    def _known(self, sample: Sample) -> dict[str, int]:
        """Return what the event says of its item by head; where the sample does not say, what its action means."""
        if sample.items[0].known:
            return sample.items[0].known
        said = self.labels.labels_of(sample.action or "", sample.value, sample.outcome or 0)
        return {head: int(value) for head, value in said.items()}

    def _may_teach(self, sample: Sample, is_released: bool = False) -> bool:
        """Say whether the user may teach this much more now, and charge it; what came before is not charged again."""
        event = sample.event
        if event is None:
            item_id, head = (sample.items[0].item_id, HEAD) if is_released else ("", "shown")
            key, weight = label_key(sample.request_id or "", item_id, head, 0), 1.0
        else:
            key = label_key(event.event_id, event.item_id, _RELEASED if is_released else "event", event.outcome)
            weight = sum(self.labels.weight_of(head, value) for head, value in self._known(sample).items())
            weight = max(weight, float(event.value is not None))
        is_known = key in self.learnt_once
        return is_known or self.user_cap.admits(
            sample.user_id, weight, sample.event_time_ms, sample.broker_time_ms or 0
        )

    def _pass_over(self, sample: Sample) -> None:
        """Count the sample of a user who has taught enough: known from now on, in every table, in no weights."""
        self.progress.capped += 1
        event, unlearnt = sample.event, _Prepared()
        if event is None:
            self._open_impression(sample, unlearnt)
            return
        self.learnt_once.add(label_key(event.event_id, event.item_id, "event", event.outcome))
        if sample.kind == "correction":
            try:
                self._open_correction(sample, self._known(sample), unlearnt)
            except SampleError as error:
                self.refuse(error.reason)
        self._count_event(event, sample, is_held=True)

    def _count_held(self, sample: Sample) -> None:
        """Count the event or the list of a held sample, and mark an event as one whose weights are not learnt."""
        self.progress.held += 1
        event = sample.event
        if event is None:
            self._count_shown(sample)
            return
        is_new = self.learnt_once.add(label_key(event.event_id, event.item_id, "event", event.outcome))
        self.progress.duplicates += not is_new
        if is_new:
            self.learnt_once.add(label_key(event.event_id, event.item_id, _HELD, event.outcome))
            self._count_event(event, sample, is_held=True)

    def _prepare_released(self, sample: Sample, prepared: _Prepared) -> None:
        """Open the list of a released sample, and its positive for retrieval, each once.

        The ranker learns served lists, whose rows were logged. The list of an organic event cannot be built any more as
        of then: the tables have gone on, and hold the event itself.
        """
        event = sample.event
        if event is None:
            self._open_impression(sample, prepared)
            return
        known = self._known(sample)
        if sample.kind == "correction":
            try:
                self._open_correction(sample, known, prepared)
            except SampleError as error:
                self.refuse(error.reason)
        was_held = label_key(event.event_id, event.item_id, _HELD, event.outcome) in self.learnt_once
        if not was_held or not self._weight(known):
            return
        if self.learnt_once.add(label_key(event.event_id, event.item_id, _RELEASED, event.outcome)):
            self._add_positive(event, self.builder.moment_before(event), prepared)

    def _count_event(self, event: Event, sample: Sample, is_held: bool) -> None:
        """Count an event everywhere, once everything that predicts it is computed."""
        row = self.builder.items.ensure_row(event.item_id)
        is_scored = sample.kind == "organic" and not is_held
        self.ratings.add(event, row, self.builder.items.categories[row], is_held, is_scored)
        self.builder.count_event(event)
        self.progress.events += 1

    def _count_shown(self, sample: Sample) -> None:
        """Count that a list was shown, once."""
        assert sample.request_id
        if self.learnt_once.add(label_key(sample.request_id, "", "shown", 0)):
            item_ids = [item.item_id for item in sample.items]
            self.builder.count_shown(sample.user_id, sample.request_id, sample.event_time_ms, item_ids)

    def _open_impression(self, sample: Sample, prepared: _Prepared) -> None:
        # A fallback's list has no rows to learn from; what it showed was shown all the same.
        self._count_shown(sample)
        open_list = self._served(sample, prepared)
        assert sample.request_id
        is_told = label_key(sample.request_id, "", _TOLD, 0) in self.learnt_once
        for item in sample.items:
            row = open_list.row(item.item_id)
            if self.learnt_once.add(label_key(sample.request_id, item.item_id, HEAD, 0)):
                open_list.assume_negative(row)
                open_list.assume_heads(row, self._happened(sample.request_id, item.item_id) if is_told else ())

    def _open_correction(self, sample: Sample, known: Mapping[str, int], prepared: _Prepared) -> None:
        item_id = sample.items[0].item_id
        for head, value in sorted(known.items(), key=lambda said: -said[1]):
            open_list = self._served(sample, prepared)
            assert sample.request_id
            row = open_list.row(item_id)
            if not self.learnt_once.add(label_key(sample.request_id, item_id, head, value)):
                continue
            self.learnt_once.add(label_key(sample.request_id, "", _TOLD, 0))
            weight = self.labels.weight_of(head, value)
            if weight and open_list.contradicts(row, value):
                del prepared.served[sample.request_id]
                open_list = self._served(sample, prepared)
            was_negative = label_key(sample.request_id, item_id, HEAD, 0) in self.learnt_once
            if (told := self.heads.target(head, value)) is not None:
                open_list.take_head(row, *told, was_negative)
            if weight and value:
                self.learnt_once.add(label_key(sample.request_id, item_id, HEAD, 1))
                open_list.take_positive(row, weight, was_negative)
            elif weight:
                open_list.take_negative(row, weight)

    def _happened(self, request_id: str, item_id: str) -> set[int]:
        """Return the heads of a shown item that were learnt as having happened."""
        keys = (label_key(request_id, item_id, name, self.heads.value_of(k)) for k, name in enumerate(self.heads.names))
        return {column for column, key in enumerate(keys) if key in self.learnt_once}

    def _served(self, sample: Sample, prepared: _Prepared) -> OpenList:
        """Return this batch's list of the request: impression and correction in one batch are one list."""
        assert sample.request_id
        found = prepared.served.get(sample.request_id)
        if found is None:
            shown = served_list(sample, self.num_inputs, self.schema_hash)
            known = self._wanted(sample.request_id, shown)
            found = OpenList.of_served(shown, known, len(self.heads), sample.is_immediate)
            prepared.served[sample.request_id] = found
            prepared.lists.append(found)
        return found

    def _wanted(self, request_id: str, shown: ServedList) -> NDArray[np.float32]:
        """Return which items of the list were learnt as positive before; they are no negatives of the softmax."""
        keys = (label_key(request_id, item_id, HEAD, 1) for item_id in shown.item_ids)
        return np.array([float(key in self.learnt_once) for key in keys], dtype=np.float32)

    def _open_organic(
        self,
        event: Event,
        weight: float,
        heads: Sequence[int],
        moment: UserMoment,
        prepared: _Prepared,
        slices: tuple[str, ...],
    ) -> None:
        """Build the list this user would have been ranked on; the ranker learns it only if it holds the target."""
        is_scored = moment.state.is_known and event.item_id not in moment.state.consumed
        self.progress.skipped_cold += not moment.state.is_known
        row = self.builder.items.row_of(event.item_id)
        candidates = self._candidates(event, moment) if len(self.builder.items) else None
        if candidates is not None and len(in_pool := np.flatnonzero(candidates.pool_rows == row)):
            self.pre_ranker.add_list(candidates.pool_inputs, int(in_pool[0]))
        found = np.flatnonzero(candidates.rows == row) if candidates is not None and row >= 0 else np.zeros(0)
        if candidates is None or not len(found):
            prepared.missed += [slices] if is_scored else []
            return
        target, num_heads = int(found[0]), len(self.heads)
        organic = OpenList.of_organic(candidates.inputs, candidates.rows, target, weight, heads, num_heads, is_scored)
        organic.slices = slices
        prepared.lists.append(organic)

    def _candidates(self, event: Event, moment: UserMoment) -> CandidateList:
        return self.builder.build(moment, self.retrieval.query(event.user_id, moment), event.event_time_ms)

    def _add_positive(self, event: Event, moment: UserMoment, prepared: _Prepared) -> None:
        row = self.builder.items.ensure_row(event.item_id)
        prepared.positives.append(Positive(event.user_id, row, moment.history_rows, moment.state.history_outcomes))

    def _weight(self, known: Mapping[str, int]) -> float:
        """Return what the positives of an event weigh together; 0: it is no positive."""
        return sum(self.labels.weight_of(head, 1) for head, value in known.items() if value)

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
                shown = shown_list(sample, open_list, logits_of[name], heads_of[name], slices)
                is_impression = sample.kind == "impression"
                self.metrics.settling.observe(
                    sample.request_id or "", shown, is_impression, sample.is_immediate, now_ms
                )
        self.metrics.settle(now_ms)

    def slices_of(self, sample: Sample) -> tuple[str, ...]:
        """Return the slices of a sample as of now."""
        return self.slices.of(sample, len(self.builder.users.newest_item_ids(sample.user_id, NEW_USER_EVENTS)))

    def _learn(
        self, lists: Sequence[OpenList], logits: Sequence[NDArray[np.float32]], positives: Sequence[Positive]
    ) -> None:
        step = self.progress.step = self.progress.step + 1
        rate_factor = self.drift.rate_factor(step)
        self._note_step("pre_ranker", self.pre_ranker.learn_batch(rate_factor))
        self.model.pre_ranker.copy_(torch.from_numpy(self.pre_ranker.weights))
        for learnt in self.ratings.learn_batch(step, rate_factor):
            self.metrics.observe_labelled(learnt.chances, learnt.labels)
            self._note_step("ratings", learnt.outcome)
        if lists:
            batch = ListBatch.of_lists(self._labelled(lists, logits, step))
            self._note_step("ranker", self.weights.learn_lists(batch, step, rate_factor))
            self.recent_inputs = lists[-1].inputs[:32]
        if positives:
            drawn = self.retrieval.batch_of(positives, step, self.progress.newest_event_time_ms)
            self._note_step("tower", self.weights.learn_positives(drawn))

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

    def take_refused_steps(self) -> list[RefusedStep]:
        """Return the newest steps that were not taken since the last call; at most a few are kept."""
        refused = list(self.refused_steps)
        self.refused_steps.clear()
        return refused


def _names_with_prefix(names: Mapping[str, list[str]], prefix: str) -> dict[str, list[str]]:
    return {name.removeprefix(prefix): column for name, column in names.items() if name.startswith(prefix)}
