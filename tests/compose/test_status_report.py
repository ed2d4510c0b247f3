"""What `headrace status` warns of: everything that makes the trainer less than exact."""

from __future__ import annotations

from compose.status import trainer_warnings

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
