"""The `quality` section of `headrace.yaml`: windows, reference, and the rules with their shipped thresholds."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from features.config import StrictConfig, load_section, nearest_name


class RuleConfig(StrictConfig):
    """What it takes for one rule to hold a window: the change must be significant and large, against every reference.

    The first keeps sparse windows quiet, the second dense ones, where nearly every change is significant.
    """

    is_enabled: bool = True
    """False switches the rule off; the figure stays in the profile."""
    z: float = Field(6.0, ge=1.0, le=1000.0)
    """Robust standard deviations from the reference."""
    min_change: float = Field(0.0, ge=0.0)
    """Least change of the share, or of the distance in bits."""
    min_ratio: float = Field(1.0, ge=1.0)
    """Least ratio of the odds for a share, of the rates for `rate`."""


class RuleOverride(StrictConfig):
    """What `headrace.yaml` changes of one shipped rule; what it leaves out stays as shipped."""

    is_enabled: bool | None = None
    z: float | None = Field(None, ge=1.0, le=1000.0)
    min_change: float | None = Field(None, ge=0.0)
    min_ratio: float | None = Field(None, ge=1.0)


SHIPPED_RULES: dict[str, RuleConfig] = {
    "duplicates": RuleConfig(min_change=0.15, min_ratio=3.0),
    "unusable": RuleConfig(min_change=0.08, min_ratio=3.0),
    "dead_letters": RuleConfig(min_change=0.08, min_ratio=3.0),
    "label_rate": RuleConfig(min_change=0.10, min_ratio=2.5),
    "action_share": RuleConfig(min_change=0.10, min_ratio=3.0),
    "action_mix": RuleConfig(min_change=0.15),
    "missing_values": RuleConfig(min_change=0.25, min_ratio=4.0),
    "value_distance": RuleConfig(min_change=0.20),
    "top_user": RuleConfig(z=5.0, min_change=0.15, min_ratio=3.0),
    "top_users": RuleConfig(min_change=0.35, min_ratio=4.0),
    "top_item": RuleConfig(min_change=0.35, min_ratio=4.0),
    "new_users": RuleConfig(min_change=0.30, min_ratio=4.0),
    "new_items": RuleConfig(min_change=0.25, min_ratio=4.0),
    "item_distance": RuleConfig(min_change=0.35),
    "requests": RuleConfig(min_change=0.20, min_ratio=4.0),
    "late": RuleConfig(min_change=0.20, min_ratio=4.0),
    "ahead": RuleConfig(min_change=0.20, min_ratio=4.0),
    "rate": RuleConfig(min_ratio=6.0),
}
"""Shipped thresholds, the same at every traffic; `docs/quality.md` says what each rule means."""


class QualityConfig(StrictConfig):
    """How data is watched."""

    enabled: bool = True
    """False: no profiles, no holds."""
    window_s: int = Field(60, ge=30, le=3600)
    """Length of a window in broker time. It should hold 200 events or more; at a few events a second take 300."""
    judge_every_s: float = Field(5.0, ge=0.1, le=600)
    """How often the open window is judged, so that a hold comes before the window ends."""
    grace_s: float = Field(2.0, ge=0.0, le=300)
    """An idle partition is waited for this long after the end of a window."""
    min_events: int = Field(40, ge=10)
    """A share over fewer events is not judged."""
    enough_events: int = Field(200, ge=0)
    """A window with fewer is also judged together with those before it, ten windows at most; 0: never."""
    min_excess: float = Field(12.0, ge=1.0)
    """A share must be off by this many events at least."""
    trailing_windows: int = Field(60, ge=10, le=1000)
    """Accepted windows that make the trailing reference."""
    min_reference_windows: int = Field(30, ge=5, le=1000)
    """No window is judged before the trailing reference has this many; a seasonal one with fewer is left out."""
    release_after_h: float | None = Field(None, gt=0)
    """Hours after which an undecided hold ends by itself; by default never."""
    event_memory_mb: int = Field(16, ge=1, le=4096)
    """Memory for event ids: 500,000 ids per MB and generation of two at an error of 0.2 % at most."""
    id_memory_mb: int = Field(8, ge=1, le=4096)
    """Memory for known users and as much for known items, likewise."""
    rules: dict[str, RuleOverride] = Field(default_factory=dict)
    """Changes of shipped rules, by name."""

    @field_validator("rules")
    @classmethod
    def _are_known(cls, rules: dict[str, RuleOverride]) -> dict[str, RuleOverride]:
        for name in rules:
            if name not in SHIPPED_RULES:
                raise ValueError(f"no rule is called {name!r}{nearest_name(name, tuple(SHIPPED_RULES))}")
        return rules

    def rule(self, name: str) -> RuleConfig:
        """Return a rule as shipped, with what this section changes of it."""
        override = self.rules.get(name)
        return SHIPPED_RULES[name].model_copy(update={} if override is None else override.model_dump(exclude_none=True))


def load_quality_config(path: Path) -> QualityConfig:
    """Read the `quality` section.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    return load_section(path, "quality", QualityConfig)
