"""The stages that are an arm's own: its model has a catalog, and its lists may be made in another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from features.config import FeaturesConfig
from features.item_table import ItemTable
from serving.arms.arm import Arm
from serving.budget import CostEstimate
from serving.catalog import CatalogKeeper, SummaryKeeper
from serving.rules import RulesConfig
from serving.stages.diversify import Diversifier
from serving.stages.explore import Explorer

_FIRST_RANKING_S, _FIRST_SHORT_RANKING_S = 0.010, 0.003
"""What rankings are believed to take before the first was measured."""


@dataclass
class ArmStages:
    """What differs from arm to arm."""

    catalogs: CatalogKeeper
    """With one for all, two models in turn would make a new catalog for every list."""
    diversifier: Diversifier
    explorer: Explorer
    cost: CostEstimate = field(default_factory=lambda: CostEstimate(_FIRST_RANKING_S))
    """Of a full ranking: a slow version must not cut the lists of others short."""
    short_cost: CostEstimate = field(default_factory=lambda: CostEstimate(_FIRST_SHORT_RANKING_S))
    """Of one where time is short."""


class StagesByArm:
    """Makes stages for an arm when its first list is asked for; they go when the arm goes.

    Args:
        features: of the app.
        items: the item table.
        summaries: of the table.
        rules: tells the rules that hold now.
    """

    def __init__(
        self, features: FeaturesConfig, items: ItemTable, summaries: SummaryKeeper, rules: Callable[[], RulesConfig]
    ) -> None:
        self._features = features
        self._items = items
        self._summaries = summaries
        self._rules = rules
        self._made: WeakKeyDictionary[Arm, ArmStages] = WeakKeyDictionary()

    def of(self, arm: Arm) -> ArmStages:
        """Return the stages of an arm."""
        made = self._made.get(arm)
        if made is None:
            catalogs = CatalogKeeper(self._features, self._items, self._summaries, self._rules)
            made = self._made[arm] = ArmStages(catalogs, Diversifier(arm.diversity), Explorer(arm.exploration))
        return made
