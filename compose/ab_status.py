"""`headrace ab status`: what each arm of an experiment earns, and whether it differs from the control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from compose.errors import NoExperimentError
from compose.experiment_lists import ArmLists, ExperimentLists
from compose.terminal_text import shown, utc
from serving.arms.always_valid import Contrast, sequential_interval, sequential_p
from serving.config import CANARY_PREFIX, STABLE_ARM, ServingConfig

_SIDE = 1.96
"""Standard errors from the middle to the end of a 95 % interval."""


@dataclass(frozen=True)
class ArmReport:
    """One arm."""

    arm: str
    share: float | None
    """As `headrace.yaml` has it now; None where it does not."""
    requests: int
    users: int
    reward: float
    """A list, positive feedback added and negative taken off."""
    reward_low: float | None
    reward_high: float | None
    """95 % interval by users, for a look at one time; None below two users."""
    difference: float | None = None
    """To the control; None for the control itself."""
    difference_low: float | None = None
    difference_high: float | None = None
    """95 % interval that holds however often somebody looks."""
    p_value: float | None = None
    """Likewise: below .05 may be acted on at once."""


@dataclass(frozen=True)
class AbReport:
    """One experiment, as `headrace ab status --json` prints it."""

    experiment: str
    control: str
    first_ms: int
    last_ms: int
    arms: list[ArmReport]
    users_of_several_arms: int
    """They changed arms, for example when shares were changed: each counts in every arm that he was in."""
    other_experiments: list[str]
    """That the topic holds lists of too."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return asdict(self)


def report_experiment(found: Mapping[str, ExperimentLists], serving: ServingConfig, name: str = "") -> AbReport:
    """Return the report of a named experiment, else of the one that served last.

    Raises:
        NoExperimentError: there is none, or none of that name.
    """
    if not found or (name and name not in found):
        raise NoExperimentError(_why_none(found, serving, name))
    one = found[name] if name else max(found.values(), key=lambda each: each.last_ms)
    shares = {arm: config.share for arm, config in serving.arms.items()} if one.name == serving.experiment else {}
    control = _control(one, shares)
    order = [*(arm for arm in shares if arm in one.arms), *sorted(set(one.arms) - set(shares))]
    order.sort(key=lambda arm: arm != control)
    return AbReport(
        experiment=one.name,
        control=control,
        first_ms=one.first_ms,
        last_ms=one.last_ms,
        arms=[_arm_report(arm, one.arms[arm], one.arms[control], shares.get(arm)) for arm in order],
        users_of_several_arms=_users_of_several(one),
        other_experiments=sorted(set(found) - {one.name}),
    )


def _control(one: ExperimentLists, shares: Mapping[str, float]) -> str:
    """Return the arm that the others are compared with: the first that is declared, else the first by name."""
    if one.name.startswith(CANARY_PREFIX) and STABLE_ARM in one.arms:
        return STABLE_ARM
    return next((arm for arm in shares if arm in one.arms), min(one.arms))


def _arm_report(name: str, arm: ArmLists, control: ArmLists, share: float | None) -> ArmReport:
    mean, side = arm.reward.mean, _SIDE * math.sqrt(arm.reward.variance)
    low, high = _bounds(mean - side, mean + side)
    if arm is control:
        return ArmReport(name, share, arm.requests, len(arm.users), mean, low, high)
    contrast = Contrast.of(arm.reward, control.reward)
    bounds = _bounds(*sequential_interval(contrast))
    told = (contrast.difference, *bounds, sequential_p(contrast))
    return ArmReport(name, share, arm.requests, len(arm.users), mean, low, high, *told)


def _bounds(low: float, high: float) -> tuple[float | None, float | None]:
    """Return an interval as JSON can hold it."""
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _users_of_several(one: ExperimentLists) -> int:
    everybody: set[str] = set().union(*(arm.users for arm in one.arms.values()))
    return sum(sum(user in arm.users for arm in one.arms.values()) > 1 for user in everybody)


def _why_none(found: Mapping[str, ExperimentLists], serving: ServingConfig, name: str) -> str:
    if found:
        return f"no list names the experiment {name!r}; there are lists of {', '.join(sorted(found))}"
    if serving.arms:
        return (
            f"headrace.yaml declares the experiment {serving.experiment!r}, but no list on headrace.served.v1 names it"
            " yet: it begins with the server's next start, once every arm has its version (`headrace status`)"
        )
    return "there is no experiment; declare one with serving.experiment and serving.arms in headrace.yaml"


def print_report(report: AbReport) -> None:
    """Print the report for a person."""
    console = Console(highlight=False)
    console.print(f"experiment {report.experiment}, lists from {utc(report.first_ms)} to {utc(report.last_ms)}")
    names = ("arm", "share", "lists", "users", "reward a list", "difference", "p, always valid")
    table = Table(*names, box=None, pad_edge=False)
    for arm in report.arms:
        table.add_row(
            shown(arm.arm),
            "" if arm.share is None else f"{arm.share:g}",
            f"{arm.requests:,}",
            f"{arm.users:,}",
            _with_interval(arm.reward, arm.reward_low, arm.reward_high),
            "control" if arm.arm == report.control else _with_interval(*_difference(arm)),
            "" if arm.p_value is None else f"{arm.p_value:.4f}",
        )
    console.print(table)
    if report.users_of_several_arms:
        console.print(f"{report.users_of_several_arms:,} users were in several arms, as shares were changed")
    if report.other_experiments:
        console.print(f"also: {', '.join(map(shown, report.other_experiments))} (--experiment NAME)", markup=False)


def _difference(arm: ArmReport) -> tuple[float, float | None, float | None]:
    return arm.difference or 0.0, arm.difference_low, arm.difference_high


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:.4f}"
    return f"{value:.4f} ({low:.4f} to {high:.4f})"
