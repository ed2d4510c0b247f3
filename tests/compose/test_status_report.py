"""What `headrace status` warns of: everything that makes the trainer less than exact."""

from __future__ import annotations

from compose.status import experiment_lines, trainer_warnings

FINE = {
    "gaps": {"count": 0, "lost": 0, "recent": []},
    "checkpoints": {"age_s": 3.0, "failed": 2, "error": "", "refused": []},
    "batch_log": {"write_error": "", "damage": "", "torn_bytes": 12},
    "replay": {"is_exact": True},
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
