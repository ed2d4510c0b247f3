"""The `rules` section of `headrace.yaml`: what the business wants of lists, whatever a model says."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from features.config import AppConfig, ConfigError, StrictConfig, nearest_name, read_yaml, validate

VERBS = ("boost", "bury", "pin", "cap", "block")


class RuleConfig(StrictConfig):
    """One rule: a verb, the items it is about, and where it holds."""

    boost: float | None = Field(None, gt=0, le=100)
    """Added to the score, in log odds: 0.7 doubles the odds of a click that the model sees."""
    bury: float | None = Field(None, gt=0, le=100)
    """Taken off the score, in log odds."""
    pin: int | None = Field(None, ge=0, le=499)
    """The place, from 0, at which the one item stands while it may be shown at all."""
    cap: int | None = Field(None, ge=0, le=500)
    """The most of these items on one list."""
    block: bool = False
    """Never shown."""
    items: tuple[str, ...] = ()
    """Item ids."""
    categories: tuple[str, ...] = ()
    """Items with any of these categories."""
    surfaces: tuple[str, ...] = ()
    """Where the rule holds; everywhere by default."""

    @model_validator(mode="after")
    def _is_whole(self) -> RuleConfig:
        given = [verb for verb in VERBS if getattr(self, verb) is not None and getattr(self, verb) is not False]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no verb'}; give exactly one of {', '.join(VERBS)}")
        if not self.items and not self.categories:
            raise ValueError("is about nothing; give items or categories")
        if self.pin is not None and (len(self.items) != 1 or self.categories):
            raise ValueError("pins more than one item to one place; give one entry in items and no categories")
        return self

    def holds_on(self, surface: str) -> bool:
        """Say whether the rule holds on a surface."""
        return not self.surfaces or surface in self.surfaces


class RulesConfig(StrictConfig):
    """All rules by name."""

    rules: dict[str, RuleConfig] = Field(default_factory=dict)

    def of(self, surface: str) -> list[RuleConfig]:
        """Return the rules that hold on a surface."""
        return [rule for rule in self.rules.values() if rule.holds_on(surface)]


def load_rules(path: Path, app: AppConfig) -> RulesConfig:
    """Read the rules of `headrace.yaml`.

    Raises:
        ConfigError: the file or a rule cannot be used; the message names the rule and the mend.
    """
    loaded = validate({"rules": read_yaml(path).get("rules") or {}}, RulesConfig, str(path))
    for name, rule in loaded.rules.items():
        for surface in rule.surfaces:
            if surface not in app.surfaces:
                known = nearest_name(surface, list(app.surfaces))
                raise ConfigError(f"{path}: rules.{name}: surface {surface!r} is not declared{known}")
    for surface in app.surfaces:
        _check_pins(path, surface, loaded)
    return loaded


def _check_pins(path: Path, surface: str, loaded: RulesConfig) -> None:
    """Refuse two items in one place and one item in two."""
    by_place: dict[int, str] = {}
    by_item: dict[str, str] = {}
    for name, rule in loaded.rules.items():
        if rule.pin is None or not rule.holds_on(surface):
            continue
        if rule.pin in by_place:
            raise ConfigError(
                f"{path}: rules.{name} and rules.{by_place[rule.pin]} both pin place {rule.pin} of surface {surface}; "
                "give one of them another place or other surfaces"
            )
        (item_id,) = rule.items
        if item_id in by_item:
            raise ConfigError(
                f"{path}: rules.{name} and rules.{by_item[item_id]} both pin item {item_id!r} on surface {surface}, "
                "which would show it twice; keep one of them or give them different surfaces"
            )
        by_place[rule.pin] = by_item[item_id] = name
