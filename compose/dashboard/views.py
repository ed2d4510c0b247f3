"""What each view of the page polls, as JSON: from the board, changing nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from compose.dashboard.board import Board
from compose.dashboard.version_line import finite

_LINE_MS = 30 * 60_000
_STAGES = ("wait", "hydrate", "catalog", "filter", "candidates", "rank", "diversify", "explore", "answer", "log")
_SLICE = re.compile(r"^(.*?)\[(.*)\]$")
_TOLD_METRICS = ("hr@10", "ndcg@10", "mrr@10", "candidate_recall", "settled_auc", "settled_logloss", "labelled_auc")


def summary(board: Board) -> dict[str, Any]:
    """Return what stands above every view: health, freshness, the live version."""
    serving, trainer = board.files["serving"], board.files["trainer"]
    total = serving.get("stages_ms", {}).get("total", {})
    recent = board.history.series("requests_per_s", "events_per_s")
    return {
        "app": board.app.name,
        "now_ms": board.now_ms(),
        "problems": board.problems(),
        "version": serving.get("model_version", ""),
        "loaded_ms": serving.get("loaded_time_ms", 0),
        "is_following": serving.get("is_following", True),
        "follow_reason": serving.get("follow_reason", ""),
        "freshness": board.stages(),
        "requests_per_s": _newest(recent["requests_per_s"]),
        "events_per_s": _newest(recent["events_per_s"]),
        "recommend_ms": total,
        "samples_per_s": trainer.get("samples_per_s"),
        "swaps": serving.get("swaps", 0),
        "items": trainer.get("items", 0),
        "users": trainer.get("users", 0),
        "judged": _judged(trainer),
    }


def learning(board: Board) -> dict[str, Any]:
    """Return prequential metrics beside the counters', by slice, and what arms earn."""
    trainer, serving = board.files["trainer"], board.files["serving"]
    metrics = finite({k: v for k, v in trainer.get("metrics", {}).items() if isinstance(v, int | float)})
    names = [name for name in metrics if not name.endswith("_overall")]
    judged = trainer.get("judged", {})
    wanted = [f"{kind}:{name}" for name in judged.get("series", {}) for kind in ("judged", "baseline")]
    wanted += [f"metric:{name}" for name in names if name in _TOLD_METRICS]
    return {
        "judged": _judged(trainer),
        "open": judged.get("open", 0),
        "block_size": judged.get("block_size", 0),
        "metrics": [
            {**_sliced(name), "rolling": metrics[name], "overall": metrics.get(f"{name}_overall")} for name in names
        ],
        "series": board.history.series(*wanted),
        "arms": serving.get("arms", {}),
        "experiment": serving.get("experiment", ""),
        "experiment_reason": serving.get("experiment_reason", ""),
        "canary": serving.get("canary"),
        "last_canary": serving.get("last_canary", ""),
        "progress": trainer.get("progress", {}),
        "samples_per_s": trainer.get("samples_per_s"),
    }


def versions(board: Board) -> dict[str, Any]:
    """Return the time line of versions with orders, and what holds the trainer."""
    serving, trainer = board.files["serving"], board.files["trainer"]
    with board.tail.lock:
        line = board.versions.view(board.now_ms() - _LINE_MS)
    return {
        **line,
        "now_ms": board.now_ms(),
        "error": board.versions_error,
        "live": serving.get("model_version", ""),
        "is_following": serving.get("is_following", True),
        "follow_reason": serving.get("follow_reason", ""),
        "swaps": serving.get("swaps", 0),
        "refused": serving.get("refused", {}),
        "last_refusal": serving.get("last_refusal", ""),
        "delta_apply_ms": serving.get("delta_apply_ms", {}),
        "delta_to_serving_s": serving.get("delta_to_serving_s", {}),
        "gate": trainer.get("gate", {}),
        "publishing": trainer.get("publishing", {}),
    }


def traffic(board: Board) -> dict[str, Any]:
    """Return requests, latency by stage, degraded reasons and the parts."""
    serving = board.files["serving"]
    degraded = serving.get("degraded", {})
    series = ["requests_per_s", "stage:total:p50", "stage:total:p99", *(f"degraded:{reason}" for reason in degraded)]
    return {
        "requests": serving.get("requests", 0),
        "stages": [
            {"stage": stage, **serving["stages_ms"][stage], "cpu_us": serving.get("stages_cpu_us", {}).get(stage)}
            for stage in _STAGES
            if stage in serving.get("stages_ms", {})
        ],
        "total": serving.get("stages_ms", {}).get("total", {}),
        "degraded": degraded,
        "refused_requests": serving.get("refused_requests", {}),
        "served_log": {"sent": serving.get("served_log_sent", 0), "dropped": serving.get("served_log_dropped", 0)},
        "workers": serving.get("workers", []),
        "arms": serving.get("arms", {}),
        "series": board.history.series(*series),
        "parts": [] if board.report is None else [vars(part) for part in board.report.parts],
        "jobs": {} if board.report is None else board.report.jobs,
    }


def data(board: Board, reason: str = "") -> dict[str, Any]:
    """Return lags, held windows and bad messages with their mends."""
    quality, report = board.files["quality"], board.report
    with board.tail.lock:
        letters = board.letters.view(board.now_ms(), reason)
    return {
        "lag": {
            "ingester": sum(board.files["ingester"].get("lag", {}).values()),
            "trainer": board.files["trainer"].get("lag_samples", 0),
            "quality": quality.get("lag", 0),
        },
        "lag_series": board.history.series("lag:ingester", "lag:trainer", "events_per_s", "samples_per_s"),
        "events": {} if report is None else report.events,
        "dead_letters_of_a_day": quality.get("dead_letters_of_a_day", {}),
        "held_windows": quality.get("held_windows", 0),
        "held": quality.get("held", []),
        "passed_over": board.tail.passed_over,
        **letters,
    }


def insights(board: Board) -> dict[str, Any]:
    """Return what people do."""
    with board.tail.lock:
        view = board.insights.view(board.now_ms())
    return {**view, "warmth": board.warmth}


def _judged(trainer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each judged series beside its baseline: those of all traffic first."""
    series = trainer.get("judged", {}).get("series", {})
    told = [{**_sliced(name), "series": name, **one} for name, one in series.items()]
    return sorted(told, key=lambda one: (one["slice"] != "", one["metric"]))


def _sliced(name: str) -> dict[str, str]:
    """Split `hr@10[user=new]`."""
    found = _SLICE.match(name)
    return {"metric": found[1], "slice": found[2]} if found else {"metric": name, "slice": ""}


def _newest(points: list[tuple[int, float]]) -> float | None:
    """Return the mean of the newest five points, None of none."""
    return sum(value for _, value in points[-5:]) / len(points[-5:]) if points else None
