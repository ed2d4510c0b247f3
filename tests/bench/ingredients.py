"""What the learner is made of, one part changed at a time: the variants of `bench_learning.py --ingredients`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.candidates import CandidateList
from features.model_inputs import pre_ranker_input_names, ranker_input_names
from features.tower_scores import TowerQuery
from trainer.evaluation.timeline import EARLY_SHARE
from trainer.list_builder import ListBuilder, UserMoment
from trainer.online_learner import OnlineLearner


@dataclass(frozen=True)
class Ingredient:
    """One variant of the learner: dotted keys of the configuration, or another way to replay."""

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    delay_s: float = 0.0
    freeze_share: float | None = None
    hidden: tuple[str, ...] = ()
    """Families of inputs that neither pre-ranker nor ranker sees."""


FAMILIES: dict[str, tuple[str, ...]] = {
    "history": ("co_visitation", "next_item", "recent_rank", "hand_score"),
    "ids": ("tower_score",),
    "title": ("title_",),
    "categories": ("category_",),
    "ages": ("item_age", "item_is_new", "item_known_for", "item_idle_for", "user_taste_known_for"),
    "user": ("user_events", "user_positive", "user_history", "user_idle", "user_session", "user_taste_popularity"),
}
"""Family of inputs -> what the names of its inputs begin with. What is left are the counters of items."""
_NO_IDS = {"features.candidates.tower": 0}

INGREDIENTS = (
    Ingredient("as shipped"),
    Ingredient("counters only", _NO_IDS, hidden=tuple(FAMILIES)),
    Ingredient("+ history", _NO_IDS, hidden=("ids", "title", "categories", "ages", "user")),
    Ingredient("+ ids", hidden=("title", "categories", "ages", "user")),
    Ingredient("+ content", hidden=("ages", "user")),
    Ingredient("without ids", _NO_IDS, hidden=("ids",)),
    *(Ingredient(f"without {family}", hidden=(family,)) for family in FAMILIES if family != "ids"),
    Ingredient("no tower candidates", {"features.candidates.tower": 0}),
    Ingredient("no favourite categories", {"features.candidates.categories": 0}),
    Ingredient("no fresh candidates", {"features.candidates.fresh": 0}),
    Ingredient("lists of 100", {"features.candidates.total": 100}),
    Ingredient("8 neighbours an item", {"features.co_visitation_neighbours": 8, "features.successor_neighbours": 8}),
    Ingredient("pre-ranker as it starts", {"trainer.learner.pre_ranker_learning_rate": 1e-9}),
    Ingredient("no drift handling", {"trainer.learner.drift.is_enabled": False}),
    Ingredient("half-lives up to 1 h", {"features.half_lives_s": [60.0, 600.0, 3600.0]}),
    Ingredient("one half-life (1 d)", {"features.half_lives_s": [86400.0]}),
    Ingredient("history of 1", {"features.history_length": 1}),
    Ingredient("no replay", {"trainer.learner.replay_rows": 0}),
    Ingredient("no heads", {"trainer.learner.heads_weight": 0.0}),
    Ingredient("no update clip", {"trainer.learner.update_clip": 0.0}),
    Ingredient("no listwise softmax", {"trainer.learner.softmax_weight": 0.0}),
    Ingredient("embeddings of 2", {"trainer.learner.embedding_dim": 2}),
    Ingredient("frozen after 20 %", freeze_share=EARLY_SHARE),
    Ingredient("delay 1 h", delay_s=3600.0),
)
"""A switch is a line: name -> keys of `headrace.yaml`."""


def hide_inputs(learner: OnlineLearner, prefixes: Sequence[str]) -> None:
    """Take inputs whose names begin so out of every list that the learner builds: they are 0, and weigh nothing."""
    ranker, pool = (
        [place for place, name in enumerate(names) if name.startswith(tuple(prefixes))]
        for names in (ranker_input_names(learner.app.features), pre_ranker_input_names(learner.app.features))
    )
    builder = learner.builder
    builder.pre_ranker[pool] = 0.0

    def build(moment: UserMoment, tower: TowerQuery | None, now_ms: int) -> CandidateList:
        found = ListBuilder.build(builder, moment, tower, now_ms)
        found.inputs[:, ranker] = 0.0
        found.pool_inputs[:, pool] = 0.0
        return found

    if prefixes:
        vars(builder)["build"] = build
