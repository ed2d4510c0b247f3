"""The checks of the gate: pure functions from numbers to reasons, each of which names value and bound.

What is a measure of judged things is a comparison, whose chance `trainer.gate_statistics` tells: how much is bad is its
margin, how much is chance its error. What is known without error is a fault by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from trainer.config import GateConfig
from trainer.gate_statistics import Comparison, freedom_of
from trainer.measures.item_reach import Choosers, ItemReach, choices, choosers, shares
from trainer.measures.judged_blocks import BLOCKS, Estimate
from trainer.measures.judgement import CALIBRATION

CANARY_BOUND = 50.0
"""A logit beyond this says 1e-22: the weights ran away."""
_NORM_FLOOR = 1.0
"""What a root mean square is at least taken for: weights that begin at zero may grow up to here at once."""
_FEWEST_AGED = 3
"""Aged choosers below which nothing is wanted, however few of them an app has."""

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


def baseline_comparisons(config: GateConfig, window: Estimates, released: Mapping[str, float]) -> Iterator[Comparison]:
    """Yield measures beside what counters give on the same lists.

    Args:
        config: margins.
        window: the trailing window.
        released: leads that ops took for good, by measure: what lies behind less was accepted.
    """
    for name, now in _judged(config, window):
        accepted = min(0.0, released.get(name, 0.0))
        what = f"{name} is {now.value:.4f} over {now.size}, {-now.lead:.4f} below the counters'"
        yield Comparison(what, accepted - now.lead, config.counters_margin, now.lead_error, now.blocks - 1)


def reference_comparisons(config: GateConfig, window: Estimates, reference: Estimates) -> Iterator[Comparison]:
    """Yield measures beside the last good window: their lead over the counters, and themselves."""
    for name, now in _judged(config, window):
        before = reference.get(name)
        if before is None or not _is_enough(config, before):
            continue
        yield _lead_comparison(name, now, before, config.last_good_margin, "the last good window")
        errors = (before.value_error, before.blocks), (now.value_error, now.blocks)
        yield Comparison(
            f"{name} fell from {before.value:.4f} to {now.value:.4f} since the last good window",
            before.value - now.value,
            config.value_margin * abs(before.value),
            math.hypot(before.value_error, now.value_error),
            freedom_of(*errors),
        )


def weekly_comparisons(config: GateConfig, window: Estimates, weekly: Estimates) -> Iterator[Comparison]:
    """Yield measures by their lead over the counters beside the baseline that is frozen for a week."""
    for name, now in _judged(config, window):
        before = weekly.get(name)
        if before is not None and _is_enough(config, before):
            yield _lead_comparison(name, now, before, config.weekly_margin, "the weekly baseline")


def calibration_comparisons(config: GateConfig, window: Estimates) -> Iterator[Comparison]:
    """Yield whether chances say far more or far less than what happens.

    With predicted `p`, observed `o = p - lead` and the bound `c`: `p - c o` and `o - c p` must not be above 0. Their
    errors are taken for as large as those of `p` and `lead` allow.
    """
    bound = config.calibration_bound
    for name, now in window.items():
        if not _is_calibration(name) or not _is_enough(config, now):
            continue
        observed = now.value - now.lead
        what = f"{name} over {now.size}: {now.value:.4f} predicted, {observed:.4f} observed"
        whole, part = (bound - 1.0) * now.value_error, now.lead_error
        yield Comparison(
            f"{what}, more than {bound:g} times",
            now.value - bound * observed,
            0.0,
            whole + bound * part,
            now.blocks - 1,
        )
        yield Comparison(
            f"{what}, less than a {bound:g}th", observed - bound * now.value, 0.0, whole + part, now.blocks - 1
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
    blocks = [*reference, *window]
    everything = choices(blocks)
    for row in np.flatnonzero(now - before > config.item_growth).tolist():
        accepted = max(before[row], released.get(item_ids[row], 0.0))
        chose = choosers(blocks, row)
        if now[row] - accepted > config.item_growth and not _is_wanted(config, chose, everything):
            yield (
                f"item {item_ids[row]!r:.80} reaches {now[row]:.0%} of aged users, {accepted:.0%} before, and"
                f" {chose.aged} of them chose it, of {chose.all} users; the bounds are {config.item_growth:.0%} more,"
                f" or {config.min_aged_choosers} did, or as many of its choosers as of others'"
            )


def _is_wanted(config: GateConfig, chose: Choosers, everything: Choosers) -> bool:
    """Say whether enough aged users chose an item, or as many as there should be among so few (binomial test)."""
    if chose.aged < _FEWEST_AGED:
        return False
    aged_share = everything.aged / everything.all
    return chose.aged >= config.min_aged_choosers or bdtr(chose.aged, chose.all, aged_share) > config.level


def _lead_comparison(name: str, now: Estimate, before: Estimate, margin: float, beside: str) -> Comparison:
    errors = (before.lead_error, before.blocks), (now.lead_error, now.blocks)
    return Comparison(
        f"{name} leads the counters by {now.lead:.4f}, in {beside} by {before.lead:.4f}",
        before.lead - now.lead,
        margin,
        math.hypot(before.lead_error, now.lead_error),
        freedom_of(*errors),
    )


def _judged(config: GateConfig, window: Estimates) -> Iterator[tuple[str, Estimate]]:
    """Yield the measures with enough in them, slices too."""
    for name, now in window.items():
        if not _is_calibration(name) and _is_enough(config, now):
            yield name, now


def _is_enough(config: GateConfig, one: Estimate) -> bool:
    """Say whether a series can be judged: enough in it, and from enough of the window to be of now and not of once."""
    return one.size >= config.min_lists and one.blocks >= BLOCKS // 2


def _is_calibration(name: str) -> bool:
    return name.partition("[")[0].endswith(CALIBRATION)


def _size(tensor: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(tensor, dtype=np.float64).mean())) if tensor.size else 0.0
