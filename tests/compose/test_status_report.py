"""What `headrace status` tells of events, and warns of: everything that makes the trainer less than exact."""

from __future__ import annotations

from typing import Any

from compose.event_counts import event_counts
from compose.status import event_lines, experiment_lines, store_warnings, trainer_warnings

FINE = {
    "gaps": {"count": 0, "lost": 0, "recent": []},
    "checkpoints": {"age_s": 3.0, "failed": 2, "error": "", "refused": []},
    "batch_log": {"write_error": "", "damage": "", "torn_bytes": 12},
    "replay": {"is_exact": True},
    "drift": {"alarms": 0, "alarm_step": -1, "reason": "", "is_alarm": False, "wants_fresh_model": False},
}


def test_healthy_or_silent_trainer_brings_no_warning() -> None:
    """A failure that is over, or no status file at all, is none."""
    assert trainer_warnings(FINE) == trainer_warnings({}) == []


def test_every_loss_is_a_sentence() -> None:
    """Gaps, disks, bad files, an inexact replay."""
    bad = {
        "gaps": {"count": 2, "lost": 40},
        "checkpoints": {"error": "No space left", "refused": ["000000000002 cannot be read"]},
        "batch_log": {"write_error": "No space left", "damage": "entry 7 is missing"},
        "replay": {"is_exact": False},
    }
    warnings = trainer_warnings(bad)
    assert len(warnings) == 6
    assert warnings[0] == "40 records lost in 2 gaps"


def test_a_wanted_fresh_model_is_asked_for() -> None:
    """Under policy `ask_fresh` alone; under `raise_rate` an alarm is the trainer's own matter."""
    alarm = {"alarms": 2, "alarm_step": 740, "reason": "loss, ADWIN", "wants_fresh_model": False}
    assert trainer_warnings({"drift": alarm}) == []
    (asked,) = trainer_warnings({"drift": alarm | {"wants_fresh_model": True}})
    assert asked.startswith("drift at step 740 (loss, ADWIN) asks for a model trained anew: `headrace train")


def test_a_model_store_that_fails_is_told_by_whom_it_fails() -> None:
    """Nothing where all is well, and where nobody wrote a status yet."""
    assert store_warnings({}, {}) == store_warnings({"store_error": ""}, {"store_error": "", "cache_error": ""}) == []
    assert store_warnings({"store_error": "no room"}, {"store_error": "away", "cache_error": "full"}) == [
        "trainer: snapshots are not written: no room",
        "server: the model store does not answer: away",
        "server: snapshots are not kept here: full",
    ]


def test_canary_and_experiment_are_a_line_each() -> None:
    """What runs, else how the last one ended; an experiment that does not run says why; nothing is no line."""
    canary = {"version": "1.2", "live_version": "1.1", "share": 0.05, "users": {"stable": 90, "canary": 4}}
    assert experiment_lines({}) == experiment_lines({"experiment": "", "canary": None, "last_canary": ""}) == []
    assert experiment_lines({"canary": canary}) == [
        "canary 1.2 beside 1.1 (5.00%; 90 users of stable, 4 users of canary)"
    ]
    assert experiment_lines({"last_canary": "was rolled back"}) == ["canary none; was rolled back"]
    assert experiment_lines({"experiment": "x", "arms": {"a": 3}})[0].startswith("ab     x (3 lists of a)")
    assert experiment_lines({"experiment": "x", "experiment_reason": "no 1.1"})[0].endswith("does not run: no 1.1")


class Flink:
    """A JobManager that answers from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def ask(self, path: str) -> Any:
        """Answer; None where it knows nothing."""
        return self.answers.get(path)


JOBS = [
    {"jid": "old", "name": "x-feature-job", "state": "CANCELED"},
    {"jid": "a", "name": "x-feature-job", "state": "RUNNING"},
    {"jid": "b", "name": "x-sample-job", "state": "RUNNING"},
]
METRICS = "/jobs/a/vertices/{}/subtasks/metrics"
NAMES = ["0.P[5].duplicates", "0.P[5].clamped", "0.P[5].numRecordsIn"]


def test_counts_are_those_of_the_running_feature_job() -> None:
    """Summed over its tasks; the sample job drops the same duplicates."""
    asked = METRICS.format("v2") + "?get=0.P[5].duplicates,0.P[5].clamped&agg=sum"
    sums = [{"id": NAMES[0], "sum": 7.0}, {"id": NAMES[1], "sum": 2.0}]
    answers: dict[str, Any] = {"/jobs/a": {"vertices": [{"id": "v1"}, {"id": "v2"}]}, asked: sums}
    answers |= {METRICS.format("v1"): [{"id": "uptime"}], METRICS.format("v2"): [{"id": name} for name in NAMES]}
    assert event_counts(Flink(answers).ask, JOBS) == {"duplicates": 7, "clamped": 2}


def test_nobody_to_ask_is_no_count() -> None:
    """A job that is about to start, a JobManager that is silent, a job that counts nothing yet."""
    assert event_counts(Flink({}).ask, []) == event_counts(Flink({}).ask, JOBS) == {}
    assert event_counts(Flink({"/jobs/a": {"vertices": [{"id": "v1"}]}}).ask, JOBS) == {}


def test_events_and_letters_are_a_line_each() -> None:
    """What was dropped, set back and rejected; nothing is no line."""
    assert event_lines({}, {}) == event_lines({}, {"dead_letters_of_a_day": {}}) == []
    letters = {"dead_letters_of_a_day": {"too_old": 4, "not_json": 1}}
    assert event_lines({"duplicates": 7, "clamped": 2}, letters) == [
        "events 7 duplicates dropped, 2 times ahead set back since the feature job was started",
        "dead   4 too_old, 1 not_json within a day; see `headrace dlq list`",
    ]
