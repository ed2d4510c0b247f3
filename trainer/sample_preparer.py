"""Turns samples into what a micro-batch learns: lists with their labels, and positives for retrieval.

Each sample is looked at once, in order: the list that an event will be judged on is built before the event is counted.
Letters: `n` items of a list, `F` ranker inputs, `K` heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.candidates import CandidateList
from features.config import AppConfig
from features.label_config import Labels
from features.model_inputs import feature_schema_hash, ranker_input_names
from trainer.config import LearnerConfig, SlicesConfig
from trainer.errors import SampleError
from trainer.head_targets import HeadTargets
from trainer.learner_state import Progress
from trainer.list_builder import ListBuilder, UserMoment
from trainer.open_lists import OpenList
from trainer.pre_ranker_learner import PreRankerLearner
from trainer.rating_learner import RatingLearner
from trainer.retrieval_learner import Positive, RetrievalLearner
from trainer.samples import HEAD, Event, LearntOnce, Sample, ServedList, label_key, served_list
from trainer.slices import NEW_USER_EVENTS, Slices
from trainer.user_cap import UserCap

_HELD, _RELEASED = "held", "released"
"""Heads of the keys of events that were counted while held, and of those learnt since."""

_TOLD = "told"
"""Head of the key of a request of which feedback was learnt."""

_SAID_LIMIT = 1000

_SLACK_MS = 3_600_000
"""What was learnt is remembered this much longer than a list can be corrected."""


@dataclass
class Prepared:
    """What the samples of a micro-batch come to."""

    lists: list[OpenList] = field(default_factory=list)
    served: dict[str, OpenList] = field(default_factory=dict)
    positives: list[Positive] = field(default_factory=list)
    missed: list[tuple[str, ...]] = field(default_factory=list)
    """Scored organic positives whose target no candidate source found, each by its slices."""
    choices: list[tuple[str, int, bool]] = field(default_factory=list)
    """(user, item row, whether the user is known for a while) of positives; empty where nobody asks."""


@dataclass(frozen=True)
class FedLearners:
    """The learners that are told of events and pools one by one, before a step is taken on all of them."""

    retrieval: RetrievalLearner
    pre_ranker: PreRankerLearner
    ratings: RatingLearner


class _Told(NamedTuple):
    """What an event says, found out once."""

    event: Event
    key: bytes
    """Names the event."""
    known: Mapping[str, int]
    """What it says of its item by head."""


class SamplePreparer:
    """What is known of samples and users: learnt once, bounded by user, counted.

    Args:
        app: actions and features.
        config: how much is remembered, what a user may teach.
        labels: what events teach.
        heads: of the model.
        builder: tables that events are counted in.
        fed: what learns of single events.
        slices: whose metrics are told apart.
        aged_after_ms: a user whose oldest remembered event is this old is known for a while; None: nobody asks.
    """

    def __init__(
        self,
        app: AppConfig,
        config: LearnerConfig,
        labels: Labels,
        heads: HeadTargets,
        builder: ListBuilder,
        fed: FedLearners,
        slices: SlicesConfig | None = None,
        aged_after_ms: int | None = None,
    ) -> None:
        self._aged_after_ms = aged_after_ms
        self._labels, self._heads, self._builder, self._fed = labels, heads, builder, fed
        self.schema_hash = feature_schema_hash(app.features)
        self._num_inputs = len(ranker_input_names(app.features))
        self._slices = Slices(slices or SlicesConfig())
        self.learnt_once = LearntOnce(config.learnt_once_limit, labels.horizon_ms + _SLACK_MS)
        self.user_cap = UserCap(
            config.user_weight_cap, config.user_weight_window_s, round(3_600_000 * app.features.horizon_h) + _SLACK_MS
        )
        self.progress = Progress()
        self._said_without_value: dict[tuple[str, int], Mapping[str, int]] = {}
        """(action, outcome) -> what such an event says by head."""

    def prepare(self, samples: Sequence[Sample], held: Sequence[bool]) -> Prepared:
        """Turn samples into lists and positives; every event is counted right after its own list is built."""
        prepared = Prepared()
        for sample, is_held in zip(samples, held or repeat(False, len(samples)), strict=True):
            try:
                self.learnt_once.admit(sample)
                told = self._told(sample)
                if is_held:
                    self._count_held(sample, told)
                elif self._may_teach(sample, told):
                    self._prepare_sample(sample, told, prepared)
                else:
                    self._pass_over(sample, told)
            except SampleError as error:
                self.refuse(error.reason)
            self.progress.newest_event_time_ms = max(self.progress.newest_event_time_ms, sample.event_time_ms)
            self.progress.newest_broker_time_ms = max(self.progress.newest_broker_time_ms, sample.broker_time_ms or 0)
        self._builder.settle()
        return prepared

    def prepare_released(self, samples: Sequence[Sample]) -> Prepared:
        """Turn samples that were held into lists and positives; they are counted already."""
        prepared = Prepared()
        for sample in samples:
            try:
                told = self._told(sample)
                may_teach = self._may_teach(sample, told, is_released=True)
                self.progress.capped += not may_teach
                self._prepare_released(sample, told, prepared if may_teach else Prepared())
            except SampleError as error:
                self.refuse(error.reason)
        return prepared

    def refuse(self, reason: str) -> None:
        """Count a sample that cannot be learnt."""
        self.progress.refused[reason] = self.progress.refused.get(reason, 0) + 1

    def slices_of(self, sample: Sample) -> tuple[str, ...]:
        """Return the slices of a sample as of now."""
        return self._slices.of(sample, len(self._builder.users.newest_item_ids(sample.user_id, NEW_USER_EVENTS)))

    def _prepare_sample(self, sample: Sample, told: _Told | None, prepared: Prepared) -> None:
        if told is None:
            self._open_impression(sample, prepared)
            return
        event, key, known = told
        is_new = self.learnt_once.add(key)
        self.progress.duplicates += not is_new
        if sample.kind == "correction":
            try:
                self._open_correction(sample, known, prepared)
            except SampleError as error:  # The list is of no use, what the user did still counts.
                self.refuse(error.reason)
        if is_new:
            if weight := self._weight(known):
                moment = self._builder.moment(event.user_id, event.event_time_ms)
                if sample.kind == "organic":
                    heads = self._heads.happened(known)
                    self._open_organic(event, weight, heads, moment, prepared, self.slices_of(sample))
                self._add_positive(event, moment, prepared)
                if self._aged_after_ms is not None:
                    is_aged = self._is_aged(event.user_id, event.event_time_ms)
                    prepared.choices.append((event.user_id, prepared.positives[-1].item_row, is_aged))
            self._count_event(event, sample, is_held=False)

    def _told(self, sample: Sample) -> _Told | None:
        """Return what the event of a sample says, None for a list that was only shown."""
        event = sample.event
        if event is None:
            return None
        key = label_key(event.event_id, event.item_id, "event", event.outcome)
        return _Told(event, key, self._known(sample))

    def _known(self, sample: Sample) -> Mapping[str, int]:
        """Return what the event says of its item by head; where the sample does not say, what its action means."""
        if sample.items[0].known:
            return sample.items[0].known
        if sample.value is not None:
            return self._said(sample.action or "", sample.value, sample.outcome or 0)
        key = sample.action or "", sample.outcome or 0
        if len(self._said_without_value) > _SAID_LIMIT:  # An action is one of few, unless somebody errs.
            self._said_without_value.clear()
        if key not in self._said_without_value:
            self._said_without_value[key] = self._said(key[0], None, key[1])
        return self._said_without_value[key]

    def _said(self, action: str, value: float | None, outcome: int) -> dict[str, int]:
        return {head: int(told) for head, told in self._labels.labels_of(action, value, outcome).items()}

    def _may_teach(self, sample: Sample, told: _Told | None, is_released: bool = False) -> bool:
        """Say whether the user may teach this much more now, and charge it; what came before is not charged again."""
        if told is None:
            item_id, head = (sample.items[0].item_id, HEAD) if is_released else ("", "shown")
            key, weight = label_key(sample.request_id or "", item_id, head, 0), 1.0
        else:
            event, key, known = told
            if not known and event.value is None:
                return True  # It teaches nothing.
            if is_released:
                key = label_key(event.event_id, event.item_id, _RELEASED, event.outcome)
            # A head of weight 0 teaches its chance all the same, in layers that all share.
            weight = sum(self._labels.weight_of(head, value) or 1.0 for head, value in known.items())
            weight = max(weight, float(event.value is not None))
        is_known = key in self.learnt_once
        return is_known or self.user_cap.admits(
            sample.user_id, weight, sample.event_time_ms, sample.broker_time_ms or 0
        )

    def _pass_over(self, sample: Sample, told: _Told | None) -> None:
        """Count the sample of a user who has taught enough: known from now on, in every table, in no weights."""
        self.progress.capped += 1
        unlearnt = Prepared()
        if told is None:
            self._open_impression(sample, unlearnt)
            return
        self.learnt_once.add(told.key)
        if sample.kind == "correction":
            try:
                self._open_correction(sample, told.known, unlearnt)
            except SampleError as error:
                self.refuse(error.reason)
        self._count_event(told.event, sample, is_held=True)

    def _count_held(self, sample: Sample, told: _Told | None) -> None:
        """Count the event or the list of a held sample, and mark an event as one whose weights are not learnt."""
        self.progress.held += 1
        if told is None:
            self._count_shown(sample)
            return
        event, key, _ = told
        is_new = self.learnt_once.add(key)
        self.progress.duplicates += not is_new
        if is_new:
            self.learnt_once.add(label_key(event.event_id, event.item_id, _HELD, event.outcome))
            self._count_event(event, sample, is_held=True)

    def _prepare_released(self, sample: Sample, told: _Told | None, prepared: Prepared) -> None:
        """Open the list of a released sample, and its positive for retrieval, each once.

        The ranker learns served lists, whose rows were logged. The list of an organic event cannot be built any more as
        of then: the tables have gone on, and hold the event itself.
        """
        if told is None:
            self._open_impression(sample, prepared)
            return
        event, _, known = told
        if sample.kind == "correction":
            try:
                self._open_correction(sample, known, prepared)
            except SampleError as error:
                self.refuse(error.reason)
        was_held = label_key(event.event_id, event.item_id, _HELD, event.outcome) in self.learnt_once
        if not was_held or not self._weight(known):
            return
        if self.learnt_once.add(label_key(event.event_id, event.item_id, _RELEASED, event.outcome)):
            self._add_positive(event, self._builder.moment_before(event), prepared)

    def _count_event(self, event: Event, sample: Sample, is_held: bool) -> None:
        """Count an event everywhere, once everything that predicts it is computed."""
        row = self._builder.items.ensure_row(event.item_id)
        is_scored = sample.kind == "organic" and not is_held
        if event.value is not None:
            self._fed.ratings.add(event, row, self._builder.items.categories[row], is_held, is_scored)
        self._builder.count_event(event)
        self.progress.events += 1

    def _count_shown(self, sample: Sample) -> None:
        """Count that a list was shown, once."""
        assert sample.request_id
        if self.learnt_once.add(label_key(sample.request_id, "", "shown", 0)):
            item_ids = [item.item_id for item in sample.items]
            self._builder.count_shown(sample.user_id, sample.request_id, sample.event_time_ms, item_ids)

    def _open_impression(self, sample: Sample, prepared: Prepared) -> None:
        # A fallback's list has no rows to learn from; what it showed was shown all the same.
        self._count_shown(sample)
        open_list = self._served(sample, prepared)
        assert sample.request_id
        for item in sample.items:
            row = open_list.row(item.item_id)
            if self.learnt_once.add(label_key(sample.request_id, item.item_id, HEAD, 0)):
                open_list.assume_negative(row)
                open_list.assume_heads(row)

    def _open_correction(self, sample: Sample, known: Mapping[str, int], prepared: Prepared) -> None:
        item_id = sample.items[0].item_id
        for head, value in sorted(known.items(), key=lambda said: -said[1]):
            open_list = self._served(sample, prepared)
            assert sample.request_id
            row = open_list.row(item_id)
            if not self.learnt_once.add(label_key(sample.request_id, item_id, head, value)):
                continue
            self.learnt_once.add(label_key(sample.request_id, "", _TOLD, 0))
            weight = self._labels.weight_of(head, value)
            if weight and open_list.contradicts(row, value):
                del prepared.served[sample.request_id]
                open_list = self._served(sample, prepared)
            was_negative = label_key(sample.request_id, item_id, HEAD, 0) in self.learnt_once
            if (told := self._heads.target(head, value)) is not None:
                open_list.take_head(row, *told, was_negative)
            if weight and value:
                self.learnt_once.add(label_key(sample.request_id, item_id, HEAD, 1))
                open_list.take_positive(row, weight, was_negative)
            elif weight:
                open_list.take_negative(row, weight)

    def _served(self, sample: Sample, prepared: Prepared) -> OpenList:
        """Return this batch's list of the request: impression and correction in one batch are one list."""
        assert sample.request_id
        found = prepared.served.get(sample.request_id)
        if found is None:
            shown = served_list(sample, self._num_inputs, self.schema_hash)
            known = self._wanted(sample.request_id, shown)
            happened = self._happened(sample.request_id, shown)
            found = OpenList.of_served(shown, known, happened, sample.is_immediate)
            found.rows = self._builder.items.rows_of(shown.item_ids)
            found.aged_user = sample.user_id if self._is_aged(sample.user_id, sample.event_time_ms) else ""
            prepared.served[sample.request_id] = found
            prepared.lists.append(found)
        return found

    def _is_aged(self, user_id: str, now_ms: int) -> bool:
        """Say whether a user is known for long enough to count in `trainer.measures.item_reach`."""
        if self._aged_after_ms is None:
            return False
        since_ms = self._builder.users.known_since_ms(user_id)
        return since_ms is not None and since_ms <= now_ms - self._aged_after_ms

    def _wanted(self, request_id: str, shown: ServedList) -> NDArray[np.float32]:
        """Return which items of the list were learnt as positive before; they are no negatives of the softmax."""
        keys = (label_key(request_id, item_id, HEAD, 1) for item_id in shown.item_ids)
        return np.array([float(key in self.learnt_once) for key in keys], dtype=np.float32)

    def _happened(self, request_id: str, shown: ServedList) -> NDArray[np.bool_]:
        """Return which heads of the list were learnt as having happened before, (n, K)."""
        found = np.zeros((len(shown.item_ids), len(self._heads)), dtype=np.bool_)
        if label_key(request_id, "", _TOLD, 0) not in self.learnt_once:
            return found
        values = [(name, self._heads.value_of(column)) for column, name in enumerate(self._heads.names)]
        for row, item_id in enumerate(shown.item_ids):
            found[row] = [label_key(request_id, item_id, *told) in self.learnt_once for told in values]
        return found

    def _open_organic(
        self,
        event: Event,
        weight: float,
        heads: Sequence[int],
        moment: UserMoment,
        prepared: Prepared,
        slices: tuple[str, ...],
    ) -> None:
        """Build the list this user would have been ranked on; the ranker learns it only if it holds the target."""
        is_scored = moment.state.is_known and event.item_id not in moment.state.consumed
        self.progress.skipped_cold += not moment.state.is_known
        row = self._builder.items.row_of(event.item_id)
        candidates = self._candidates(event, moment) if len(self._builder.items) else None
        if candidates is not None and len(in_pool := np.flatnonzero(candidates.pool_rows == row)):
            self._fed.pre_ranker.add_list(candidates.pool_inputs, int(in_pool[0]))
        found = np.flatnonzero(candidates.rows == row) if candidates is not None and row >= 0 else np.zeros(0)
        if candidates is None or not len(found):
            prepared.missed += [slices] if is_scored else []
            return
        target, num_heads = int(found[0]), len(self._heads)
        organic = OpenList.of_organic(candidates.inputs, candidates.rows, target, weight, heads, num_heads, is_scored)
        organic.slices = slices
        organic.aged_user = event.user_id if self._is_aged(event.user_id, event.event_time_ms) else ""
        prepared.lists.append(organic)

    def _candidates(self, event: Event, moment: UserMoment) -> CandidateList:
        return self._builder.build(moment, self._fed.retrieval.query(event.user_id, moment), event.event_time_ms)

    def _add_positive(self, event: Event, moment: UserMoment, prepared: Prepared) -> None:
        row = self._builder.items.ensure_row(event.item_id)
        prepared.positives.append(Positive(event.user_id, row, moment.history_rows, moment.state.history_outcomes))

    def _weight(self, known: Mapping[str, int]) -> float:
        """Return what the positives of an event weigh together; 0: it is no positive."""
        return sum(self._labels.weight_of(head, 1) for head, value in known.items() if value)
