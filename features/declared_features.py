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
from collections.abc import Mapping, Sequence
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
_UNSCALED = ("ratio", "time_since_last")
_SUMS = {"count": 1, "sum": 1, "mean": 2, "ratio": 2}
_NAME = re.compile(r"^(user|item|global)_[a-z][a-z0-9_]{0,55}$")
_LONGEST_S = 31_536_000.0
"""A year: the longest half-life and window."""
RESERVED_NAMES = frozenset(
    {
        *("user_id", "user_counters", "user_activity_event_time_ms", "user_exposure_event_time_ms"),
        *(f"user_history_{what}" for what in ("item_ids", "actions", "times_ms", "outcomes", "length")),
        *("user_category_names", "user_category_counts", "user_shown_item_ids", "user_shown_times_ms"),
        *("user_item_shown", "user_item_shown_age", "user_positive_rate", "user_idle_for", "user_session_events"),
        *("user_taste_popularity", "user_taste_known_for"),
        *("item_id", "item_counters", "item_exposure", "item_age", "item_is_new", "item_age_gap"),
        *("item_known_for", "item_idle_for"),
        *("item_activity_event_time_ms", "item_exposure_event_time_ms", "global_activity_event_time_ms"),
    }
)
"""What Headrace itself calls so in rows and model inputs, beside its counters; a test holds them complete."""
_OF_COUNTERS = "_decay_"
"""Stands in every name of a decayed counter, `user_events_decay_1h`."""


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
    window_s: float | None = None
    """Or look at a sliding window (seconds): the events of this window-aligned span and the share of the one before
    that a window ending now still covers. For the same four."""
    positives: tuple[str, ...] = ()
    """`ratio` only: the actions in the numerator."""
    prior: float = Field(0.1, gt=0, lt=1)
    """`ratio` only: what an entity without events gets."""
    prior_strength: float = Field(20.0, gt=0)
    """`ratio` and `mean`: how many events the prior weighs."""
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    """What the amount is divided by before its log is taken. Inputs are cut at 5, which log(1 + x) reaches at 147 and
    arcsinh at 74: give the size that is usual. For all but `ratio` and `time_since_last`."""
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
        if self.half_lives_s:
            check_spans("half_lives_s", self.half_lives_s)
        if self.window_s is not None:
            check_spans("window_s", (self.window_s,))
        for field, owner in (("positives", "ratio"), ("of", "distinct")):
            if bool(getattr(self, field)) != (self.aggregation == owner):
                raise ValueError(f"`{field}` belongs to `aggregation: {owner}`, and {owner} needs it")
        if self.scale != 1.0 and self.aggregation in _UNSCALED:
            raise ValueError(f"{self.aggregation} takes no scale: it is no amount")
        passed_over = set(self.positives).difference(self.actions or self.positives)
        if passed_over:
            raise ValueError(
                f"positives {sorted(passed_over)} are not among the actions, so they would never be counted"
            )
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
        """Name the meaning: 16 hex digits over all but the description and the order of actions."""
        fields = self.model_dump(mode="json", exclude={"description"})
        fields |= {name: sorted(fields[name]) for name in ("actions", "positives")}
        if self.scale == 1.0:  # Definitions in stores are older than the field.
            del fields["scale"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def check_spans(field: str, seconds: Sequence[float]) -> None:
    """Refuse half-lives and windows that Flink and Python would not cut into the same epochs.

    Raises:
        ValueError: they do not ascend, are not between 1 s and a year, or are no whole milliseconds.
    """
    if not seconds or not all(1.0 <= one <= _LONGEST_S for one in seconds) or list(seconds) != sorted(set(seconds)):
        raise ValueError(f"{field} must ascend and lie between 1 s and {_LONGEST_S:.0f} s, not {list(seconds)}")
    if any(abs(one * 1000.0 - round(one * 1000.0)) > 1e-6 for one in seconds):
        raise ValueError(f"{field} must be whole milliseconds, not {list(seconds)}")


def check_names(declared: Mapping[str, DeclaredFeature]) -> None:
    """Refuse names that do not say their entity, or that mean something already.

    Raises:
        ValueError: a name is not `<entity>_<what>` in lower case, says another entity than the feature's, or is taken.
    """
    inputs = [name for one in declared.items() for name in input_names(*one)]
    for name, feature in declared.items():
        if not _NAME.match(name) or not name.startswith(f"{feature.entity}_"):
            raise ValueError(
                f"{name!r}: a feature of entity {feature.entity} is called {feature.entity}_<what>, "
                "in lower case letters, digits and _, at most 63 long"
            )
        if name in RESERVED_NAMES or _OF_COUNTERS in name:
            raise ValueError(
                f"{name!r} is a name of Headrace's own, as all with {_OF_COUNTERS} are; "
                f"call the feature {name.replace(_OF_COUNTERS, '_')}_of_ours, for example"
            )
        if len(feature.half_lives_s) > 1 and (
            twice := [one for one in input_names(name, feature) if inputs.count(one) > 1]
        ):
            raise ValueError(f"{name!r} gives a model input {twice[0]!r}, which is another feature's name; rename one")


def input_names(name: str, feature: DeclaredFeature) -> tuple[str, ...]:
    """Return the names of a feature's model inputs: its own, with the half-life in seconds where it has several."""
    if len(feature.half_lives_s) < 2:
        return (name,)
    return tuple(f"{name}_{half_life_s:.12g}s" for half_life_s in feature.half_lives_s)


def of_entity(declared: Mapping[str, DeclaredFeature], entity: str) -> dict[str, DeclaredFeature]:
    """Return the features of one entity in the order of their declaration."""
    return {name: feature for name, feature in declared.items() if feature.entity == entity}


def row_width(declared: Mapping[str, DeclaredFeature], entity: str) -> int:
    """Return how many raw numbers the features of one entity take together."""
    return sum(feature.width for feature in of_entity(declared, entity).values())
