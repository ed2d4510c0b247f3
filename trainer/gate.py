"""The gate before every publish: says at a cut whether a version may serve, and remembers what was good.

A function of the learner and of what it remembers, so a replay of the batch log remembers alike; what it decided stands
in the log's cut (`CutEntry.gate_reason`), which a replay follows whatever its bounds are by then.

    cut passes        weights and norms become what the next cut is held against
    cut is held       its snapshot is announced as HELD, then nothing is published until ops say `release` or `reject`
    confirmed cut     one behind which a whole window was judged and passed: where `reject` goes back to
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from trainer.config import GateConfig
from trainer.gate_checks import (
    baseline_comparisons,
    calibration_comparisons,
    canary_faults,
    norm_faults,
    reach_faults,
    reference_comparisons,
    weekly_comparisons,
    weight_faults,
)
from trainer.gate_orders import RELEASE, GateOrder
from trainer.gate_statistics import Comparison, faults_at
from trainer.measures.item_reach import shares
from trainer.measures.judged_blocks import BLOCKS, Estimate, JudgedBlocks, estimates
from trainer.measures.packed import pack_array, unpack_array
from trainer.online_learner import OnlineLearner

_WEEK_MS = 7 * 86_400_000
_MOST_ROWS = 16_384
"""Rows of a table that are looked at a cut, others in turn: a cut takes no longer with a million users."""
_STATISTICS = (".input_mean", ".input_variance", ".input_count")
"""Tensors that are what inputs look like, not what is learnt: they need be finite only."""

logger = logging.getLogger(__name__)


class HeldVersion(msgspec.Struct, frozen=True):
    """What the gate holds."""

    version: str
    reason: str
    since_ms: int
    earlier: tuple[str, ...] = ()
    """What it was called before a restart; orders may still mean these."""

    def is_meant_by(self, version: str) -> bool:
        """Say whether an order about a version, empty for any, is about this one."""
        return version in ("", self.version, *self.earlier)


class _Moment(NamedTuple):
    """A cut that passed and waits to be confirmed."""

    num_closed: int
    cut: int


class _AtCut(NamedTuple):
    """What a learner is at a cut, as far as the gate looks at it."""

    dense: dict[str, NDArray[np.float32]]
    table_norms: dict[str, float]


class Gate:
    """What was good, what is held, and the judgement of a cut.

    Args:
        config: bounds.
    """

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._dense: dict[str, NDArray[np.float32]] = {}
        """Weights of the last published version."""
        self._tables: dict[str, float] = {}
        """Norms of its rows."""
        self._weekly: dict[str, Estimate] = {}
        self._weekly_ms = 0
        self._released_leads: dict[str, float] = {}
        self._released_shares: dict[str, float] = {}
        self._moments: deque[_Moment] = deque()
        self.good_cut = 0
        """Number of the newest confirmed cut, of the first one where none is; 0 before it."""
        self.held: HeldVersion | None = None
        self.is_released = False
        """Ops said that the next cut passes."""
        self.is_rejected = False
        """Ops said to go back; the trainer has not yet."""
        self._judged_blocks = -1
        self._window_faults: list[str] = []
        self._at_cut: tuple[int, _AtCut] | None = None
        """Step, and what the learner was there, from its judgement on."""

    @property
    def may_publish(self) -> bool:
        """Whether a cut is to be made at all."""
        return self.held is None or self.is_released

    def judge(self, learner: OnlineLearner) -> str:
        """Return why what the learner is now must be held, empty where it may serve; changes nothing that matters."""
        dense, tables = self._weights_of(learner)
        faults = [*canary_faults(learner.ranker.predict(learner.canary_inputs())), *weight_faults(dense, tables)]
        if self._config.is_enabled and not faults and not self.is_released:
            faults += norm_faults(_weights(dense), self._dense, tables, self._tables, self._config.norm_change)
            faults += self._judged_window(learner)
        return "; ".join(faults)

    def follow_cut(self, learner: OnlineLearner, version: str, reason: str, time_ms: int, cut: int) -> None:
        """Let what was decided at a cut take effect.

        Args:
            learner: as of the cut.
            version: of the cut.
            reason: why it is held; empty where it passed.
            time_ms: of the cut.
            cut: its number, from 1.
        """
        was_released, self.is_released = self.is_released, False
        if reason:
            since_ms = time_ms
            earlier: tuple[str, ...] = ()
            if self.held is not None and not was_released:
                since_ms, earlier = self.held.since_ms, (*self.held.earlier, self.held.version)
            self.held = HeldVersion(version, reason, since_ms, earlier)
            logger.error("version %s is held: %s", version, reason)
            return
        blocks = learner.metrics.judgement.blocks
        self.held = None
        if was_released:
            self._accept(blocks, learner.builder.items.item_ids, cut)
        if self._config.is_enabled:
            dense, self._tables = self._weights_of(learner)
            self._dense = _weights(dense)
            self._freeze_weekly(blocks, learner.progress.newest_event_time_ms, was_released)
        self._at_cut = None
        self._note_moment(blocks, cut)

    def follow_order(self, order: GateOrder) -> None:
        """Let an order about the held version take effect; any other is passed over."""
        if self.held is None or not self.held.is_meant_by(order.version) or self.is_rejected:
            held = self.held.version if self.held else "nothing"
            logger.warning("order %s %s passed over: %s is held", order.order, order.version, held)
            return
        logger.warning("version %s: %s by %s. %s", self.held.version, order.order, order.role, order.reason)
        self.is_released = order.order == RELEASE
        self.is_rejected = not self.is_released

    def follow_reject(self, cut: int) -> None:
        """Go on behind samples that were skipped: what is published next is what was good.

        Args:
            cut: number of the next one.
        """
        self.held, self.is_released, self.is_rejected = None, False, False
        self.good_cut = cut
        self._moments.clear()
        self._at_cut = None

    def status(self) -> dict[str, Any]:
        """Return what the status file tells."""
        return {
            "state": "HELD" if self.held else "PASSED",
            "version": self.held.version if self.held else "",
            "reason": self.held.reason if self.held else "",
            "since_ms": self.held.since_ms if self.held else 0,
            "is_enabled": self._config.is_enabled,
            "good_cut": self.good_cut,
        }

    def saved(self) -> dict[str, Any]:
        """Return everything, for the checkpoint."""
        return {
            "dense": {name: pack_array(tensor) for name, tensor in self._dense.items()},
            "tables": self._tables,
            "weekly": {name: list(one) for name, one in self._weekly.items()},
            "weekly_ms": self._weekly_ms,
            "released_leads": self._released_leads,
            "released_shares": self._released_shares,
            "moments": [list(moment) for moment in self._moments],
            "good_cut": self.good_cut,
            "held": msgspec.to_builtins(self.held) if self.held else None,
            "is_released": self.is_released,
            "is_rejected": self.is_rejected,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `saved` returned."""
        self._dense = {name: unpack_array(tensor) for name, tensor in saved["dense"].items()}
        self._tables = dict(saved["tables"])
        self._weekly = {name: Estimate(*one) for name, one in saved["weekly"].items()}
        self._weekly_ms = saved["weekly_ms"]
        self._released_leads, self._released_shares = dict(saved["released_leads"]), dict(saved["released_shares"])
        self._moments = deque(_Moment(*moment) for moment in saved["moments"])
        self.good_cut = saved["good_cut"]
        self.held = msgspec.convert(saved["held"], HeldVersion) if saved["held"] else None
        self.is_released, self.is_rejected = saved["is_released"], saved["is_rejected"]
        self._judged_blocks, self._at_cut = -1, None

    def _weights_of(self, learner: OnlineLearner) -> _AtCut:
        """Return weights and norms of a learner, copied once though a cut is first judged and then followed."""
        step = learner.progress.step
        if self._at_cut is None or self._at_cut[0] != step:
            self._at_cut = step, _AtCut(learner.model.dense(), _table_norms(learner))
        return self._at_cut[1]

    def _freeze_weekly(self, blocks: JudgedBlocks, now_ms: int, was_released: bool) -> None:
        """Freeze what a week is held against: where the week is over, or ops took what is for good."""
        if was_released or (len(blocks.window) == BLOCKS and now_ms >= self._weekly_ms + _WEEK_MS):
            self._weekly, self._weekly_ms = estimates(blocks.reference if was_released else blocks.window), now_ms

    def _judged_window(self, learner: OnlineLearner) -> list[str]:
        """Compare the window again where a block was closed since; only then can it say something new."""
        blocks = learner.metrics.judgement.blocks
        if blocks.num_closed != self._judged_blocks:
            self._judged_blocks = blocks.num_closed
            self._window_faults = self._faults_of(blocks, learner.builder.items.item_ids)
        return self._window_faults

    def _faults_of(self, blocks: JudgedBlocks, item_ids: list[str]) -> list[str]:
        config, window, reference = self._config, estimates(blocks.window), estimates(blocks.reference)
        compared: list[Comparison] = []
        if blocks.num_closed >= 2 * BLOCKS:  # Before, the window tells of a learner that had begun with nothing.
            compared += baseline_comparisons(config, window, self._released_leads)
            compared += calibration_comparisons(config, window)
        compared += reference_comparisons(config, window, reference)
        compared += weekly_comparisons(config, window, self._weekly)
        faults = faults_at(config.level, compared)
        of_window, before = ([block.reach for block in part] for part in (blocks.window, blocks.reference))
        return [*faults, *reach_faults(config, of_window, before, item_ids, self._released_shares)]

    def _accept(self, blocks: JudgedBlocks, item_ids: list[str], cut: int) -> None:
        """Take the window as it is for good, as ops said."""
        window = blocks.window
        self._released_leads = {name: one.lead for name, one in estimates(window).items()}
        share, _ = shares([block.reach for block in window], len(item_ids))
        self._released_shares = {item_ids[row]: float(share[row]) for row in np.flatnonzero(share).tolist()}
        blocks.begin_window()
        self.good_cut = cut
        self._moments.clear()
        self._judged_blocks = -1

    def _note_moment(self, blocks: JudgedBlocks, cut: int) -> None:
        """Remember a cut that passed, and confirm those that lie before the whole window."""
        if not self._moments or self._moments[-1].num_closed < blocks.num_closed:
            self._moments.append(_Moment(blocks.num_closed, cut))
        self.good_cut = self.good_cut or cut
        while self._moments and self._moments[0].num_closed < blocks.num_closed - BLOCKS:
            self.good_cut = self._moments.popleft().cut


def _weights(dense: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {name: tensor for name, tensor in dense.items() if not name.endswith(_STATISTICS)}


def _table_norms(learner: OnlineLearner) -> dict[str, float]:
    """Return the root mean square of the norms of each table's rows."""
    tower = learner.weights.tower
    tables = {"items": tower.item_rows, "categories": tower.category_rows, "users": tower.user_rows}
    norms = {}
    for name, table in tables.items():
        rows = table.weight
        parts = max(1, -(-len(rows) // _MOST_ROWS))
        looked_at = rows[learner.progress.step % parts :: parts] if parts > 1 else rows
        norms[name] = float(torch.sqrt(looked_at.square().sum() / max(1, len(looked_at))))
    return norms
