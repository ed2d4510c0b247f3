"""What `headrace status` tells: parts with their processes, Flink's jobs, events, lags, the live model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from compose.errors import StackNotRunningError
from compose.event_counts import event_counts
from compose.local_stack import is_stack_running, read_status
from compose.probes import http_json
from compose.processes import ProcessRecord, is_alive
from compose.state_file import read_state_file
from features.config import Endpoints, load_endpoints


@dataclass(frozen=True)
class PartReport:
    """One part."""

    name: str
    state: str
    pid: int | None
    restarts: int


@dataclass(frozen=True)
class StackReport:
    """Everything `headrace status --json` prints."""

    state_dir: str
    endpoints: dict[str, str]
    parts: list[PartReport]
    jobs: dict[str, str]
    """Flink job name -> state."""
    events: dict[str, int] = field(default_factory=dict)
    """What the feature job did to events since it was started: `duplicates` dropped, times `clamped`."""
    lag: dict[str, int] = field(default_factory=dict)
    """Records waiting in front of a part, as the part itself tells."""
    model: dict[str, Any] = field(default_factory=dict)
    """Live version, its age, swaps and refusals, as the server wrote them last."""
    quality: dict[str, Any] = field(default_factory=dict)
    """Held windows as the quality job sees them, and what the trainer has deferred."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """What topics lacked, how checkpoints and batch log fare, and what the newest start repeated."""

    @property
    def is_up(self) -> bool:
        """Whether every part is."""
        return all(part.state in ("ready", "done") for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {"is_up": self.is_up, **asdict(self)}


def collect_status(state_dir: Path) -> StackReport:
    """Look at the stack in `state_dir`.

    Raises:
        StackNotRunningError: none runs there.
    """
    if not is_stack_running(state_dir):
        raise StackNotRunningError(f"no stack runs in {state_dir}; `headrace up` starts one")
    endpoints = load_endpoints(state_dir / "endpoints.json")
    jobs = _flink_jobs(endpoints)
    return StackReport(
        state_dir=str(state_dir),
        endpoints=endpoints.addresses() | {"model_store": endpoints.model_store, "state": endpoints.state},
        parts=[_part_report(part) for part in read_status(state_dir).get("parts", [])],
        jobs={job["name"]: job["state"] for job in jobs},
        events=event_counts(lambda path: _ask_flink(endpoints, path), jobs),
        lag=lags_of(state_dir),
        model=_model(state_dir),
        quality=_quality(state_dir),
        trainer=_trainer(state_dir),
    )


def _part_report(part: dict[str, Any]) -> PartReport:
    record = ProcessRecord.from_json(part["process"]) if part["process"] else None
    is_gone = record is not None and not is_alive(record)
    state = "died" if is_gone else part["state"]
    return PartReport(part["name"], state, record.pid if record and not is_gone else None, part["restarts"])


def _flink_jobs(endpoints: Endpoints) -> list[dict[str, Any]]:
    """Return the jobs that Flink knows, the newest last."""
    answer = _ask_flink(endpoints, "/jobs/overview") or {}
    return sorted(answer.get("jobs", []), key=lambda job: job["start-time"])


def _ask_flink(endpoints: Endpoints, path: str) -> Any:
    return http_json(int(endpoints.flink.rpartition(":")[2]), path, timeout_s=2.0)


def _model(state_dir: Path) -> dict[str, Any]:
    status = read_state_file(state_dir / "serving.json")
    if not status:
        return {}
    loaded_ms = status.get("loaded_time_ms", 0)
    return {
        "version": status.get("model_version", ""),
        "loaded_s_ago": round(time.time() - loaded_ms / 1000, 1) if loaded_ms else None,
        "is_following": status.get("is_following"),
        "follow_reason": status.get("follow_reason", ""),
        "swaps": status.get("swaps", 0),
        "refused": status.get("refused", {}),
        "is_full_quality": status.get("is_full_quality"),
        "workers": status.get("workers", []),
        "experiment": status.get("experiment", ""),
        "experiment_reason": status.get("experiment_reason", ""),
        "arms": status.get("arms", {}),
        "canary": status.get("canary"),
        "last_canary": status.get("last_canary", ""),
        "store_error": status.get("store_error", ""),
        "cache_error": status.get("cache_error", ""),
    }


def _quality(state_dir: Path) -> dict[str, Any]:
    status = read_state_file(state_dir / "quality.json")
    if not status:
        return {}
    last = ("last_window_start_ms", "last_window_state")
    watched = ("windows", *last, "held_windows", "held", "dead_letters_of_a_day", "lag")
    return {key: status.get(key) for key in watched} | {
        "trainer": read_state_file(state_dir / "trainer.json").get("holds")
    }


def _trainer(state_dir: Path) -> dict[str, Any]:
    status = read_state_file(state_dir / "trainer.json")
    kept = ("gaps", "checkpoints", "batch_log", "replay", "refused_batches", "drift")
    told: dict[str, Any] = {key: status[key] for key in kept if key in status}
    progress = status.get("progress", {})
    told |= {"store_error": status.get("publishing", {}).get("store_error", "")}
    steps = {key: progress[key] for key in ("step", "non_finite_steps", "clipped_steps") if key in progress}
    return told | ({"steps": steps} if steps else {})


def trainer_warnings(trainer: Mapping[str, Any]) -> list[str]:
    """Return what ops should know of the trainer, a sentence each (docs/exactness.md, drift in docs/runbook.md)."""
    gaps, checkpoints = trainer.get("gaps", {}), trainer.get("checkpoints", {})
    batch_log, replay = trainer.get("batch_log", {}), trainer.get("replay", {})
    refused, steps = trainer.get("refused_batches", {}), trainer.get("steps", {})
    drift = trainer.get("drift", {})
    warnings = {
        f"{steps.get('non_finite_steps')} steps were not finite and not taken, {refused.get('kept')} of their batches"
        " are kept: `headrace batches list`": steps.get("non_finite_steps"),
        f"{gaps.get('lost')} records lost in {gaps.get('count')} gaps": gaps.get("count"),
        f"checkpoints fail: {checkpoints.get('error')}": checkpoints.get("error"),
        f"{len(checkpoints.get('refused', []))} bad checkpoints refused": checkpoints.get("refused"),
        f"batch log cannot be written: {batch_log.get('write_error')}": batch_log.get("write_error"),
        f"batch log damaged: {batch_log.get('damage')}": batch_log.get("damage"),
        "the newest start could not repeat its batches exactly": not replay.get("is_exact", True),
        f"drift at step {drift.get('alarm_step')} ({drift.get('reason')}) asks for a model trained anew: "
        "`headrace train --history FILE --replace`": drift.get("wants_fresh_model"),
    }
    return [text for text, is_so in warnings.items() if is_so]


def store_warnings(trainer: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """Return what ops should know of the model store, a sentence each."""
    warnings = {
        f"trainer: snapshots are not written: {trainer.get('store_error')}": trainer.get("store_error"),
        f"server: the model store does not answer: {model.get('store_error')}": model.get("store_error"),
        f"server: snapshots are not kept here: {model.get('cache_error')}": model.get("cache_error"),
    }
    return [text for text, is_so in warnings.items() if is_so]


def lags_of(state_dir: Path) -> dict[str, int]:
    """Return what waits in front of ingester and trainer, as they wrote it within the last second."""
    ingester = read_state_file(state_dir / "ingester.json").get("lag", {})
    trainer = read_state_file(state_dir / "trainer.json").get("lag_samples")
    lags = {"ingester": sum(ingester.values())} if ingester else {}
    return lags if trainer is None else lags | {"trainer": trainer}


def print_status(report: StackReport) -> None:
    """Print the report for a person."""
    console = Console(highlight=False)
    console.print(_parts_table(report.parts))
    console.print()
    if page := report.endpoints.get("dashboard"):
        console.print(f"page   http://{page}/")
    for name, state in report.jobs.items():
        console.print(f"job    {name} {state.lower()}")
    for line in event_lines(report.events, report.quality):
        console.print(line, markup=False)
    for part, records in report.lag.items():
        console.print(f"lag    {part} {records} records")
    if report.quality.get("held_windows"):
        console.print(f"hold   {report.quality['held_windows']} windows from training; see `headrace quality list`")
    for warning in trainer_warnings(report.trainer):
        console.print(f"warn   trainer: {warning}; see docs/exactness.md", markup=False)
    for warning in store_warnings(report.trainer, report.model):
        console.print(f"warn   {warning}; see docs/publishing.md", markup=False)
    model = report.model
    if model.get("version"):
        follows = "following" if model["is_following"] else f"not following: {model['follow_reason']}"
        console.print(f"model  {model['version']} ({follows}; {model['swaps']} swaps)")
    else:
        console.print("model  none yet")
    for worker in model.get("workers", ()):
        version, restarts = worker["model_version"] or "no version", worker["restarts"]
        console.print(
            f"worker {worker['number']} {worker['state']}, pid {worker['pid']}, {version}, {restarts} restarts"
        )
    for line in experiment_lines(model):
        console.print(line, markup=False)


def event_lines(events: Mapping[str, int], quality: Mapping[str, Any]) -> list[str]:
    """Return what became of events that did not count as they were sent."""
    lines = []
    if events:
        told = f"{events['duplicates']} duplicates dropped, {events['clamped']} times ahead set back"
        lines.append(f"events {told} since the feature job was started")
    if letters := quality.get("dead_letters_of_a_day"):
        told = ", ".join(f"{count} {reason}" for reason, count in letters.items())
        lines.append(f"dead   {told} within a day; see `headrace dlq list`")
    return lines


def experiment_lines(model: Mapping[str, Any]) -> list[str]:
    """Return what runs beside the live version, and how the last canary ended."""
    lines = []
    if canary := model.get("canary"):
        users = ", ".join(f"{count} users of {arm}" for arm, count in canary["users"].items())
        lines.append(f"canary {canary['version']} beside {canary['live_version']} ({canary['share']:.2%}; {users})")
    elif model.get("last_canary"):
        lines.append(f"canary none; {model['last_canary']}")
    if reason := model.get("experiment_reason"):
        lines.append(f"warn   experiment {model['experiment']} does not run: {reason}")
    elif model.get("experiment"):
        arms = ", ".join(f"{count} lists of {arm}" for arm, count in model["arms"].items())
        lines.append(f"ab     {model['experiment']} ({arms}); see `headrace ab status`")
    return lines


def _parts_table(parts: list[PartReport]) -> Table:
    table = Table("part", "state", "pid", "restarts", box=None, pad_edge=False)
    for part in parts:
        style = {"ready": "green", "done": "green", "died": "red", "restarting": "red"}.get(part.state, "yellow")
        table.add_row(part.name, f"[{style}]{part.state}[/]", str(part.pid or ""), str(part.restarts or ""))
    return table
