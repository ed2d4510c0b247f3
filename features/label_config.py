"""The `labels` section of `headrace.yaml`: what of an event teaches the model, and how long a list waits for it.

A head is one thing the model can learn (click, purchase, dwell). Each names the actions that are evidence for it (1) or
against it (0). Where no heads are declared, every action with an outcome is a head of its own name and reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from features.config import (
    NEGATIVE,
    POSITIVE,
    AppConfig,
    Condition,
    ConfigError,
    StrictConfig,
    load_section,
    nearest_name,
    parse_condition,
)

Policy = Literal["immediate", "wait"]


class HeadConfig(StrictConfig):
    """What is evidence for or against one head."""

    actions: tuple[str, ...] = Field(min_length=1)
    """Declared actions that bring this evidence."""
    when: str | None = None
    """A condition on the event's `value`, for example `value >= 30`; without one every event counts."""
    value: Literal[0, 1] = 1
    """1: the item was wanted. 0: it was not (dismiss, dislike)."""
    weight: float = Field(1.0, ge=0.0, le=1000.0)
    """Weight of such a sample in the loss: the reward."""
    window_s: float | None = Field(None, ge=0.1, le=604_800.0)
    """Seconds within which this evidence usually comes; `labels.window_s` where it is not said."""

    @field_validator("when")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            parse_condition(text)
        return text


class LabelsConfig(StrictConfig):
    """How feedback becomes labels."""

    policy: Policy = "immediate"
    """`immediate`: shown items are negatives at once, and corrected. `wait`: they are when the window has closed."""
    window_s: float = Field(600.0, ge=0.1, le=604_800.0)
    """Attribution window in seconds, by the clock of the job: how long `wait` waits, and how long feedback waits for
    the list it names before it is `unknown_request`."""
    correction_horizon_h: float = Field(24.0, gt=0.0, le=168.0)
    """Hours after it was served that a list can still be corrected; later feedback is `after_horizon`. Lists stay on
    their topic for 7 days, so more could not be replayed."""
    heads: dict[str, HeadConfig] = Field(default_factory=dict)
    """By name; empty means one head for each action with an outcome."""


@dataclass(frozen=True)
class LabelRule:
    """One way in which an event of one action labels one head."""

    head: str
    value: int
    """1 or 0."""
    weight: float
    action: str
    condition: Condition | None = None
    """On the event's `value`."""
    outcome: int | None = None
    """The outcome that the event must have; None for heads that are declared."""

    def holds(self, action: str, value: float | None, outcome: int) -> bool:
        """Say whether an event brings this label."""
        is_met = self.condition is None or self.condition.holds(value)
        return action == self.action and is_met and self.outcome in (None, outcome)


@dataclass(frozen=True)
class Labels:
    """The labels of one app, resolved."""

    policy: Policy
    window_s: float
    """The longest attribution window of a positive head: a list waits for all of them."""
    correction_horizon_h: float
    rules: tuple[LabelRule, ...]

    @property
    def horizon_ms(self) -> int:
        """The correction horizon in milliseconds."""
        return round(self.correction_horizon_h * 3_600_000)

    def labels_of(self, action: str, value: float | None, outcome: int) -> dict[str, float]:
        """Return head -> 1.0 or 0.0 for one event; empty where it teaches nothing. The jobs' SQL says the same."""
        return {rule.head: float(rule.value) for rule in self.rules if rule.holds(action, value, outcome)}

    def weight_of(self, head: str, value: int) -> float:
        """Return the declared weight of a label; 1 for one that is not declared (any more)."""
        return next((rule.weight for rule in self.rules if (rule.head, rule.value) == (head, value)), 1.0)


def derived_labels(app: AppConfig) -> Labels:
    """Return the labels of an app that declares none."""
    return resolve_labels(LabelsConfig(), app)


def resolve_labels(config: LabelsConfig, app: AppConfig) -> Labels:
    """Return the labels that a section means for this app.

    Raises:
        ConfigError: a value contradicts another one, or a head names an action that is not declared.
    """
    rules = tuple(_declared(config, app) if config.heads else _derived(app))
    windows_s = [head.window_s or config.window_s for head in config.heads.values() if head.value]
    _check_windows(config)
    if not any(rule.value for rule in rules):
        raise ConfigError("labels.heads: none has `value: 1`; without a positive there is nothing to learn, add one")
    return Labels(config.policy, max(windows_s, default=config.window_s), config.correction_horizon_h, rules)


def load_labels(path: Path, app: AppConfig) -> Labels:
    """Read the `labels` section.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    config = load_section(path, "labels", LabelsConfig)
    try:
        return resolve_labels(config, app)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _declared(config: LabelsConfig, app: AppConfig) -> list[LabelRule]:
    rules = []
    for name, head in config.heads.items():
        if not name or name != name.strip():
            raise ConfigError(f"labels.heads: {name!r} is no name; use letters, digits and _")
        condition = parse_condition(head.when) if head.when else None
        for action in dict.fromkeys(head.actions):
            if action not in app.actions:
                hint = nearest_name(action, list(app.actions))
                raise ConfigError(f"labels.heads.{name}.actions: unknown action {action!r}{hint}")
            rules.append(LabelRule(name, head.value, head.weight, action, condition))
    return rules


def _derived(app: AppConfig) -> list[LabelRule]:
    rules = []
    for name, action in app.actions.items():
        if action.outcome == "positive" or action.positive_when:
            rules.append(LabelRule(name, 1, action.reward, name, outcome=POSITIVE))
        if action.outcome == "negative" or action.negative_when:
            rules.append(LabelRule(name, 0, action.reward, name, outcome=NEGATIVE))
    return rules


def _check_windows(config: LabelsConfig) -> None:
    horizon_s = config.correction_horizon_h * 3600
    windows_s = {"window_s": config.window_s}
    windows_s |= {f"heads.{name}.window_s": head.window_s for name, head in config.heads.items() if head.window_s}
    for key, window_s in windows_s.items():
        if window_s > horizon_s:
            raise ConfigError(
                f"labels.{key} is {window_s:g} s, but corrections end after correction_horizon_h "
                f"{config.correction_horizon_h:g} ({horizon_s:g} s); lower the one or raise the other"
            )
