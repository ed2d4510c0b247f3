"""The checks of the gate: pure functions from numbers to reasons, each of which names value and bound.

A fall counts where it exceeds a margin (how much is bad) and a multiple of its standard error (how much is chance).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config import GateConfig
from trainer.measures.item_reach import ItemReach, choosers, shares
from trainer.measures.judged_blocks import Estimate
from trainer.measures.judgement import CALIBRATION

CANARY_BOUND = 50.0
"""A logit beyond this says 1e-22: the weights ran away."""
_NORM_FLOOR = 1.0
"""What a root mean square is at least taken for: weights that begin at zero may grow up to here at once."""

Estimates = Mapping[str, Estimate]


def canary_faults(scores: NDArray[np.floating[Any]]) -> Iterator[str]:
    """Yield why scores of known rows cannot be served, (n,)."""
    if not np.isfinite(scores).all():
        yield "canary scores are not finite"
        return
    worst = float(np.abs(scores).max(initial=0.0))
    if worst > CANARY_BOUND:
        yield f"a canary score is {worst:.3g}, the bound is {CANARY_BOUND:g}"


def weight_faults(dense: Mapping[str, NDArray[np.float32]], tables: Mapping[str, float]) -> Iterator[str]:
    """Yield which tensors and tables (by the root mean square of their rows' norms) are not finite."""
    for name, tensor in dense.items():
        if not np.isfinite(tensor).all():
            yield f"{name} is not finite"
    for name, norm in tables.items():
        if not math.isfinite(norm):
            yield f"rows of {name} are not finite"


def norm_faults(
    dense: Mapping[str, NDArray[np.float32]],
    good: Mapping[str, NDArray[np.float32]],
    tables: Mapping[str, float],
    good_tables: Mapping[str, float],
    most: float,
) -> Iterator[str]:
    """Yield what moved further since the last published version than `most` times its own size."""
    for name, before in good.items():
        moved, bound = _size(dense[name] - before), most * max(_size(before), _NORM_FLOOR)
        if moved > bound:
            yield f"{name} moved by {moved:.3g} a weight since the last version, the bound is {bound:.3g}"
    for name, norm in good_tables.items():
        bound = (1.0 + most) * max(norm, _NORM_FLOOR)
        if tables[name] > bound:
            yield f"rows of {name} have norm {tables[name]:.3g}, the bound is {bound:.3g}"


def baseline_faults(config: GateConfig, window: Estimates, released: Mapping[str, float]) -> Iterator[str]:
    """Yield measures that are worse than what counters give on the same lists.

    Args:
        config: margins.
        window: the trailing window.
        released: leads that ops took for good, by measure: what lies behind less was accepted.
    """
    for name, now in _judged(config, window):
        accepted = min(0.0, released.get(name, 0.0))
        fall, bound = accepted - now.lead, max(config.counters_margin, config.noise * now.lead_error)
        if fall > bound:
            yield (
                f"{name} is {now.value:.4f}, {-now.lead:.4f} below the counters' over {now.size};"
                f" the bound is {bound - accepted:.4f}"
            )


def reference_faults(config: GateConfig, window: Estimates, reference: Estimates) -> Iterator[str]:
    """Yield measures that fell against the last good window, by themselves or in their lead over the counters."""
    for name, now in _judged(config, window):
        before = reference.get(name)
        if before is None or before.size < config.min_lists:
            continue
        yield from _fall(config, name, now, before, config.last_good_margin, "the last good window")
        fall = before.value - now.value
        noise = config.noise * math.hypot(now.value_error, before.value_error)
        bound = max(config.value_margin * abs(before.value), noise)
        if fall > bound:
            yield (
                f"{name} fell from {before.value:.4f} to {now.value:.4f} since the last good window;"
                f" the bound is {bound:.4f}"
            )


def weekly_faults(config: GateConfig, window: Estimates, weekly: Estimates) -> Iterator[str]:
    """Yield measures whose lead over the counters fell against the baseline that is frozen for a week."""
    for name, now in _judged(config, window):
        before = weekly.get(name)
        if before is not None and before.size >= config.min_lists:
            yield from _fall(config, name, now, before, config.weekly_margin, "the weekly baseline")


def calibration_faults(config: GateConfig, window: Estimates) -> Iterator[str]:
    """Yield measures whose chances say far more or far less than what happens."""
    for name, now in window.items():
        if not _is_calibration(name) or now.size < config.min_lists:
            continue
        observed = now.value - now.lead
        is_noise = abs(now.lead) <= config.noise * now.lead_error
        ratio = now.value / observed if observed > 0 else math.inf
        if not is_noise and not 1.0 / config.calibration_bound <= ratio <= config.calibration_bound:
            yield (
                f"{name}: {now.value:.4f} predicted, {observed:.4f} observed over {now.size}, ratio {ratio:.3g};"
                f" the bound is a factor of {config.calibration_bound:g}"
            )


def reach_faults(
    config: GateConfig,
    window: Sequence[ItemReach],
    reference: Sequence[ItemReach],
    item_ids: Sequence[str],
    released: Mapping[str, float],
) -> Iterator[str]:
    """Yield items that take the tops of lists over without enough aged users having chosen them.

    Args:
        config: bounds.
        window: of the newest blocks.
        reference: of those before.
        item_ids: of the rows.
        released: shares that ops took for good, by item id.
    """
    now, users = shares(window, len(item_ids))
    before, users_before = shares(reference, len(item_ids))
    if min(users, users_before) < config.min_aged_listed:
        return
    for row in np.flatnonzero(now - before > config.item_growth).tolist():
        accepted = max(before[row], released.get(item_ids[row], 0.0))
        chose = choosers([*reference, *window], row)
        if now[row] - accepted > config.item_growth and chose < config.min_aged_choosers:
            yield (
                f"item {item_ids[row]!r:.80} reaches {now[row]:.0%} of aged users, {accepted:.0%} before, and {chose}"
                f" of them chose it; the bounds are {config.item_growth:.0%} more, or {config.min_aged_choosers} did"
            )


def _fall(config: GateConfig, name: str, now: Estimate, before: Estimate, margin: float, what: str) -> Iterator[str]:
    fall = before.lead - now.lead
    bound = max(margin, config.noise * math.hypot(now.lead_error, before.lead_error))
    if fall > bound:
        yield (
            f"{name} leads the counters by {now.lead:.4f}, in {what} by {before.lead:.4f};"
            f" the bound is {bound:.4f} less"
        )


def _judged(config: GateConfig, window: Estimates) -> Iterator[tuple[str, Estimate]]:
    """Yield the measures with enough in them, slices too."""
    for name, now in window.items():
        if not _is_calibration(name) and now.size >= config.min_lists:
            yield name, now


def _is_calibration(name: str) -> bool:
    return name.partition("[")[0].endswith(CALIBRATION)


def _size(tensor: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(tensor, dtype=np.float64).mean())) if tensor.size else 0.0
