"""What came out of one method's run, as docs/evaluate.md names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.evaluation.timeline import Timeline
from trainer.metrics import Totals

_ORGANIC = ("hr@10", "ndcg@10", "mrr@10")
_SERVED = ("auc", "gauc", "mrr", "ndcg@10", "logloss", "ece")
_SLICED = re.compile(r"(settled_|head_)?(.+?)\[(.+)\]")
_LABELLED = ("auc", "logloss", "ece")


@dataclass(frozen=True)
class Outcome:
    """Totals and curves of one method.

    Args:
        name: of the method.
        totals: of everything that was scored.
        timeline: the same along the stream.
        skipped_cold: positives of users without an earlier event.
        coverage: share of the known items that stood in a top 10; None where nobody kept count.
        samples: samples learnt.
        wall_s: seconds they took.
        num_events: events among them.
        says_chances: whether scores of lists are chances, so that logloss and calibration mean something.
    """

    name: str
    totals: Totals
    timeline: Timeline
    skipped_cold: int
    coverage: float | None
    samples: int
    wall_s: float
    num_events: int
    says_chances: bool = True

    @property
    def events_per_s(self) -> float:
        """Events learnt in a second."""
        return self.num_events / self.wall_s if self.wall_s else 0.0

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return `organic`, `served` and `labelled`, each where the data has it."""
        return parts_of(self.totals, self.skipped_cold, self.coverage, self.says_chances)


def parts_of(
    totals: Totals, skipped_cold: int = 0, coverage: float | None = None, says_chances: bool = True
) -> dict[str, dict[str, Any]]:
    """Return the parts of one stretch of a stream; a value that cannot be told is None."""
    values = totals.values()
    parts: dict[str, dict[str, Any]] = {}
    if totals.count("hr@10") or skipped_cold:
        parts["organic"] = {"events": totals.count("hr@10"), "skipped_cold": skipped_cold}
        parts["organic"] |= {name: values.get(name) for name in _ORGANIC}
        parts["organic"] |= {"coverage": coverage, "candidate_recall": values.get("candidate_recall")}
    if totals.count("settled_wanted"):
        parts["served"] = {"requests": totals.count("settled_wanted")}
        parts["served"] |= {name: values.get(f"settled_{name}") for name in _SERVED}
        parts["served"] |= {"user_gauc": values.get("settled_user_gauc")}
        if not says_chances:
            parts["served"] |= {"logloss": None, "ece": None}
    if totals.count("labelled"):
        parts["labelled"] = {"events": totals.count("labelled")}
        parts["labelled"] |= {name: values.get(f"labelled_{name}") for name in _LABELLED}
    for (part, kind), told in _told_apart(values).items():
        if part in parts:
            parts[part][kind] = told
    return parts


_TOLD_APART = {None: ("organic", "slices"), "settled_": ("served", "slices"), "head_": ("served", "heads")}


def _told_apart(values: Mapping[str, float]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """Return (part, `slices` or `heads`) -> name of it -> metric -> value."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for name, value in values.items():
        if match := _SLICED.fullmatch(name):
            found.setdefault(_TOLD_APART[match[1]], {}).setdefault(match[3], {})[match[2]] = value
    return found


def as_json(outcome: Outcome, config_hash: str, baselines: list[Outcome]) -> dict[str, Any]:
    """Return what `--json` writes; `baselines` stands in it only where some were asked for."""
    result: dict[str, Any] = {
        **outcome.parts(),
        "samples": outcome.samples,
        "wall_s": round(outcome.wall_s, 3),
        "events_per_s": round(outcome.events_per_s, 1),
        "config_hash": config_hash,
    }
    if baselines:
        result["baselines"] = {
            one.name: {**one.parts(), "events_per_s": round(one.events_per_s, 1)} for one in baselines
        }
    return result
