"""What is wrong now, each with the view that tells more and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from compose.status import StackReport, store_warnings, trainer_warnings

_MUCH_LAG = 2000
"""Records that wait: some seconds of work on a laptop."""

Level = Literal["bad", "warn"]


@dataclass(frozen=True)
class Problem:
    """One sentence for people."""

    level: Level
    text: str
    mend: str
    view: str
    """Name of the view that tells more."""

    def to_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return asdict(self)


def problems(report: StackReport | None, silent: Sequence[str], kafka_error: str) -> list[Problem]:
    """Return what is wrong, the worst first.

    Args:
        report: of `headrace status`; None where no stack runs in the state directory.
        silent: parts that write no status.
        kafka_error: why the topics are not read.
    """
    found = [*_of_parts(report, silent), *_of_kafka(kafka_error)]
    if report is not None:
        found += [*_of_model(report.model), *_of_trainer(report), *_of_data(report)]
    return sorted(found, key=lambda problem: problem.level != "bad")


def _of_parts(report: StackReport | None, silent: Sequence[str]) -> Iterator[Problem]:
    if report is None:
        for name in silent:
            yield Problem("bad", f"{name} writes no status", "Look at its log in the state directory.", "traffic")
        return
    for part in report.parts:
        if part.state not in ("ready", "done"):
            mend = f"It is started again by itself; if it stays so, read logs/{part.name}.log in the state directory."
            yield Problem("bad", f"{part.name} is {part.state}", mend, "traffic")
    for job, state in report.jobs.items():
        if state not in ("RUNNING", "FINISHED", "CANCELED", "CREATED"):
            yield Problem("bad", f"Flink job {job} is {state.lower()}", "`headrace status`; see logs/jobs.log.", "data")


def _of_kafka(error: str) -> Iterator[Problem]:
    if error:
        yield Problem("bad", error, "Start it, or look at logs/kafka.log; this page connects again by itself.", "data")


def _of_model(model: Mapping[str, Any]) -> Iterator[Problem]:
    if not model.get("version"):
        yield Problem("warn", "The server has no model yet", "It comes with the trainer's first version.", "versions")
    elif not model.get("is_following"):
        mend = "`Follow again` in Versions, or `headrace unpin`, lets new versions in."
        yield Problem("warn", f"The server does not follow: {model.get('follow_reason')}", mend, "versions")
    if model.get("is_full_quality") is False:
        yield Problem("warn", "Answers are below full quality", "Traffic lists the reasons.", "traffic")
    if reason := model.get("experiment_reason"):
        yield Problem("warn", f"The experiment does not run: {reason}", "See docs/serving.md.", "learning")


def _of_trainer(report: StackReport) -> Iterator[Problem]:
    for text in trainer_warnings(report.trainer):
        yield Problem("warn", f"Trainer: {text}", "docs/exactness.md says what to do.", "learning")
    for text in store_warnings(report.trainer, report.model):
        yield Problem("warn", text.capitalize(), "docs/publishing.md says what to do.", "versions")


def _of_data(report: StackReport) -> Iterator[Problem]:
    for part, records in report.lag.items():
        if records > _MUCH_LAG:
            yield Problem("warn", f"{records:,} records wait for the {part}", "It catches up, or needs cores.", "data")
    if held := report.quality.get("held_windows"):
        yield Problem("warn", f"{held} windows of data are held from training", "`headrace quality list`.", "data")
    letters: Mapping[str, int] = report.quality.get("dead_letters_of_a_day") or {}
    if total := sum(letters.values()):
        worst = max(letters, key=lambda reason: letters[reason])
        yield Problem("warn", f"{total:,} bad messages within a day, mostly {worst}", "Data shows and mends.", "data")


def gate_problem(gate: Mapping[str, Any]) -> Problem | None:
    """Return that a version is held, if one is."""
    if gate.get("state") != "HELD":
        return None
    text = f"Version {gate.get('version')} is held: {gate.get('reason')}"
    return Problem("bad", text, "Release or reject it in Versions; until then nothing new is published.", "versions")
