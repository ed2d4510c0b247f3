"""What lists would earn without exploration, from lists that had it: `headrace evaluate --ips`.

Every drawn place says how likely its item was, given those above. A list whose draws fell on the best items stands for
the lists where they did not (Horvitz and Thompson 1952; step by step: Precup et al. 2000, "Eligibility traces for
off-policy policy evaluation"). Letters: `R` shown items in the order of their lists, `Q` lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.config import AppConfig, load_app_config, nearest_name
from features.label_config import load_labels
from trainer.evaluation.columns import Columns
from trainer.evaluation.errors import EvaluationError

DEFAULT_ARM = "default"
"""Name of the arm of lists that name none."""
_SIDE = 1.96
"""Standard errors from the middle to the end of a 95 % interval."""
_SERVED_COLUMNS = ("request_id", "user_id", "item_id", "position", "served_time_ms", "propensity")
_EVENT_COLUMNS = ("user_id", "item_id", "event_time_ms", "action", "request_id")


@dataclass(frozen=True)
class ArmEstimate:
    """Reward a list of one arm; intervals are 95 %, by the normal approximation over lists."""

    lists: int
    observed: float
    """Mean reward of the lists as they were shown, draws included."""
    observed_low: float
    observed_high: float
    without_draws: float
    """What the same arm would earn with the best item in every drawn place: unbiased."""
    without_draws_low: float
    without_draws_high: float
    self_normalised: float
    """The same, weights divided by their mean place by place: a little biased, and calmer."""
    effective_lists: float
    """(sum of weights)^2 / sum of squared weights: how many lists the estimate rests on."""


@dataclass(frozen=True)
class LoggedLists:
    """Shown items, list by list, top first."""

    list_codes: NDArray[np.int64]
    """(R,) number of the list, ascending from 0."""
    places: NDArray[np.int64]
    """(R,) within the list, from 0."""
    propensities: NDArray[np.float64]
    """(R,) in (0, 1]."""
    is_explored: NDArray[np.bool_]
    """(R,) whether a draw put it in place of the best."""
    rewards: NDArray[np.float64]
    """(R,)"""
    arms: list[str]
    """(Q,)"""


def estimate_file(events: Path, served: Path, config: Path) -> dict[str, ArmEstimate]:
    """Return arm -> estimate from parquet files of events and served lists.

    Raises:
        ConfigError: a file, a column or the configuration cannot be used.
    """
    app = load_app_config(config)
    rewards = _rewards(events, app)
    return estimate_arms(_read_lists(served, rewards, load_labels(config, app).horizon_ms))


def estimate_arms(logged: LoggedLists) -> dict[str, ArmEstimate]:
    """Return the estimates of every arm, by name."""
    weights = weights_without_draws(logged)
    arm_of_list = np.array(logged.arms)
    return {arm: _estimate(logged, weights, np.flatnonzero(arm_of_list == arm)) for arm in sorted(set(logged.arms))}


def weights_without_draws(logged: LoggedLists) -> NDArray[np.float64]:
    """Return what every shown item counts for, (R,).

    1 / (product of the propensities of its list down to it), 0 from the first drawn item on that was not the best:
    what stands below an item is taken not to change its reward.
    """
    _, starts = np.unique(logged.list_codes, return_index=True)
    sizes = np.diff(np.append(starts, len(logged.list_codes)))

    def from_the_top(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.cumsum(values)
        return np.asarray(total - np.repeat(total[starts] - values[starts], sizes))

    drawn_other = from_the_top(logged.is_explored.astype(np.float64))
    return np.where(drawn_other > 0.0, 0.0, np.exp(-from_the_top(np.log(logged.propensities))))


def _estimate(logged: LoggedLists, weights: NDArray[np.float64], lists: NDArray[np.int64]) -> ArmEstimate:
    is_ours = np.isin(logged.list_codes, lists)
    codes = np.searchsorted(lists, logged.list_codes[is_ours])
    rewards, weights, places = logged.rewards[is_ours], weights[is_ours], logged.places[is_ours]
    observed = np.bincount(codes, rewards, minlength=len(lists)).astype(np.float64)  # (lists,)
    weighted = np.bincount(codes, rewards * weights, minlength=len(lists)).astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(codes)), len(codes) - 1)  # Where the weight is that of the whole list.
    by_place = np.bincount(places, rewards * weights) / np.maximum(np.bincount(places, weights), 1e-12)
    shown = np.bincount(places) / len(lists)
    return ArmEstimate(
        len(lists),
        *_interval(observed),
        *_interval(weighted),
        float(by_place @ shown),
        float(weights[last].sum() ** 2 / max(float((weights[last] ** 2).sum()), 1e-12)),
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    mean = float(values.mean())
    side = _SIDE * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return mean, mean - side, mean + side


def _rewards(path: Path, app: AppConfig) -> dict[tuple[str, str, str], list[tuple[int, float]]]:
    """Return (request, user, item) -> times and rewards of the feedback on it; a repeated event counts once."""
    columns = Columns(path, _EVENT_COLUMNS)
    actions, values = columns.texts("action"), columns.optional_numbers("value")
    for name in sorted(set(actions) - set(app.actions)):
        hint = nearest_name(name, list(app.actions))
        raise EvaluationError(f"{path}: column action holds {name!r}, which headrace.yaml does not declare{hint}")
    requests, users, items = columns.optional_texts("request_id"), columns.texts("user_id"), columns.texts("item_id")
    times, ids = columns.times_ms("event_time_ms"), columns.optional_texts("event_id")
    found: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    seen: set[str] = set()
    for row, action in enumerate(actions):
        if not requests[row] or ids[row] in seen:
            continue
        if ids[row]:
            seen.add(ids[row])
        config = app.actions[action]
        reward = config.outcome_of(values[row]) * config.reward
        if reward:
            found.setdefault((requests[row], users[row], items[row]), []).append((times[row], reward))
    return found


def _read_lists(
    path: Path, rewards: Mapping[tuple[str, str, str], list[tuple[int, float]]], horizon_ms: int
) -> LoggedLists:
    columns = Columns(path, _SERVED_COLUMNS)
    requests, users, items = columns.texts("request_id"), columns.texts("user_id"), columns.texts("item_id")
    times, positions = columns.times_ms("served_time_ms"), columns.optional_numbers("position")
    propensities = _propensities(path, columns)
    is_explored = np.array([bool(one) for one in columns.values("explored")])
    if not columns.has("explored") and (propensities < 1.0).any():
        raise EvaluationError(
            f"{path} has propensities below 1 and lacks the column explored; take it from the log too"
        )
    arms = columns.optional_texts("arm")
    _, codes = np.unique(np.array(requests), return_inverse=True)
    order = np.lexsort((np.array([one or 0.0 for one in positions]), codes))
    order = order[_is_first([(requests[row], items[row], positions[row]) for row in order])]
    earned = np.array(
        [
            sum(
                reward
                for time_ms, reward in rewards.get((requests[row], users[row], items[row]), ())
                if 0 <= time_ms - times[row] <= horizon_ms
            )
            for row in order
        ]
    )
    codes = codes[order]
    first = np.unique(codes, return_index=True)[1]
    places = np.arange(len(codes)) - first[codes]
    names = [arms[order[row]] or DEFAULT_ARM for row in first]
    return LoggedLists(codes, places, propensities[order], is_explored[order], earned, names)


def _is_first(keys: list[tuple[str, str, float | None]]) -> NDArray[np.bool_]:
    """Say of each shown item whether it is its first record: a list that was written twice was shown once."""
    seen: set[tuple[str, str, float | None]] = set()
    return np.array([not (key in seen or seen.add(key)) for key in keys], dtype=np.bool_)  # type: ignore[func-returns-value]


def _propensities(path: Path, columns: Columns) -> NDArray[np.float64]:
    values = columns.optional_numbers("propensity")
    for row, value in enumerate(values):
        if value is None or not 0.0 < value <= 1.0:
            raise EvaluationError(f"{path}: column propensity row {row + 1} has {value}, must be above 0 and at most 1")
    return np.array(values, dtype=np.float64)


def as_json(estimates: Mapping[str, ArmEstimate]) -> dict[str, Any]:
    """Return what `--json` writes."""
    return {"ips": {arm: asdict(estimate) for arm, estimate in estimates.items()}}
