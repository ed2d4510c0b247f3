"""Features that a team declares in `headrace.yaml`: what they count, and how the numbers of one lie in a row.

    features:
      declared:
        user_purchase_value_7d: {entity: user, aggregation: sum, actions: [purchase], half_lives_s: [604800]}

Flink computes each as an array of raw numbers that is a function of the set of events, whatever their order; what a
reader makes of them (decay to now, ratios, logs) is in `declared_values.py`. One name means one thing for ever: a
changed meaning is a new name (`features.apply` refuses the rest).

Numbers of one feature: `spans` times (newest epoch, `K` sums, `K` sums of the epoch before) where it has half-lives or
a window, else `K` sums; `max` and `last` see below.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from features.conditions import Condition, parse_condition
from features.strict_config import StrictConfig

Entity = Literal["user", "item", "global"]
Aggregation = Literal["count", "sum", "mean", "max", "last", "distinct", "ratio", "time_since_last"]

ENTITIES: tuple[Entity, ...] = ("user", "item", "global")
SPANNED = ("count", "sum", "mean", "ratio")
"""Aggregations that may decay or look at a window."""
OF_VALUES = ("sum", "mean", "max", "last")
"""Aggregations of the event's `value`; events without one are passed over."""
_SUMS = {"count": 1, "sum": 1, "mean": 2, "ratio": 2}
_NAME = re.compile(r"^(user|item|global)_[a-z][a-z0-9_]{0,55}$")


class DeclaredFeature(StrictConfig):
    """One feature: which events of which entity, and what of them."""

    entity: Entity
    """Whose events: of one user, of one item, or all."""
    aggregation: Aggregation
    """`count`, `sum`, `mean`, `max`, `last` (by time, then event_id), `distinct` (HyperLogLog, 512 registers: standard
    error 4.6 %), `ratio` (share of `positives` among the events, with a prior), `time_since_last`."""
    actions: tuple[str, ...] = ()
    """Only events with these actions; empty takes all."""
    when: str | None = None
    """Only events whose value meets the condition, for example `value >= 4`."""
    half_lives_s: tuple[float, ...] = ()
    """Decay with these half-lives (seconds, ascending): one number each. For `count`, `sum`, `mean`, `ratio`."""
    window_s: float | None = Field(None, gt=0, le=31_536_000)
    """Or look at a sliding window (seconds): the events of this window-aligned span and the share of the one before
    that a window ending now still covers. For the same four."""
    positives: tuple[str, ...] = ()
    """`ratio` only: the actions in the numerator."""
    prior: float = Field(0.1, gt=0, lt=1)
    """`ratio` only: what an entity without events gets."""
    prior_strength: float = Field(20.0, gt=0)
    """`ratio` and `mean`: how many events the prior weighs."""
    of: Literal["item_id", "user_id", "action"] | None = None
    """`distinct` only: what is told apart."""
    description: str = ""
    """A line for the catalogue."""

    @field_validator("when")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            parse_condition(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> DeclaredFeature:
        if (self.half_lives_s or self.window_s) and self.aggregation not in SPANNED:
            raise ValueError(
                f"{self.aggregation} takes neither half_lives_s nor window_s; only {', '.join(SPANNED)} do"
            )
        if self.half_lives_s and self.window_s:
            raise ValueError("half_lives_s and window_s exclude each other; declare two features")
        lives = self.half_lives_s
        if lives and (lives[0] < 1 or list(lives) != sorted(set(lives))):
            raise ValueError(f"half_lives_s must ascend and start at 1 s or more, not {list(lives)}")
        for field, owner in (("positives", "ratio"), ("of", "distinct")):
            if bool(getattr(self, field)) != (self.aggregation == owner):
                raise ValueError(f"`{field}` belongs to `aggregation: {owner}`, and {owner} needs it")
        return self

    @property
    def condition(self) -> Condition | None:
        """The parsed `when`."""
        return parse_condition(self.when) if self.when else None

    @property
    def num_spans(self) -> int:
        """How many half-lives or windows it has; 0 for all time."""
        return len(self.half_lives_s) or int(self.window_s is not None)

    @property
    def num_sums(self) -> int:
        """`K`: sums of one span."""
        return _SUMS.get(self.aggregation, 0)

    @property
    def width(self) -> int:
        """Raw numbers in a row: `max` has (values seen, largest), `last` (time, value), the others of no span one."""
        if self.num_spans:
            return self.num_spans * (1 + 2 * self.num_sums)
        return self.num_sums or (2 if self.aggregation in ("max", "last") else 1)

    @property
    def num_values(self) -> int:
        """How many model inputs it gives: one for each span."""
        return max(1, self.num_spans)

    def takes(self, action: str, value: float | None) -> bool:
        """Say whether an event is counted."""
        if self.actions and action not in self.actions:
            return False
        if self.condition is not None and not self.condition.holds(value):
            return False
        return value is not None or self.aggregation not in OF_VALUES

    def definition(self) -> str:
        """Name the meaning: 16 hex digits over all but the description."""
        fields = self.model_dump(mode="json", exclude={"description"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def check_names(declared: Mapping[str, DeclaredFeature]) -> None:
    """Refuse names that do not say their entity.

    Raises:
        ValueError: a name is not `<entity>_<what>` in lower case, or says another entity than the feature's.
    """
    for name, feature in declared.items():
        if not _NAME.match(name) or not name.startswith(f"{feature.entity}_"):
            raise ValueError(
                f"{name!r}: a feature of entity {feature.entity} is called {feature.entity}_<what>, "
                "in lower case letters, digits and _, at most 63 long"
            )


def of_entity(declared: Mapping[str, DeclaredFeature], entity: str) -> dict[str, DeclaredFeature]:
    """Return the features of one entity in the order of their declaration."""
    return {name: feature for name, feature in declared.items() if feature.entity == entity}


def row_width(declared: Mapping[str, DeclaredFeature], entity: str) -> int:
    """Return how many raw numbers the features of one entity take together."""
    return sum(feature.width for feature in of_entity(declared, entity).values())
