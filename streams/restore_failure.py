"""Whether a job failed because of what it was to go on from, as Flink's stack traces tell it.

Messages are of no use here: "state" stands in half of them, `IllegalStateException` to begin with.
"""

from __future__ import annotations

import re

_EXCEPTIONS = (
    "org.apache.flink.runtime.state.BackendBuildingException",
    "org.apache.flink.util.StateMigrationException",
)
"""Thrown where state is read, and nowhere else."""
_FRAMES = (
    r"org\.apache\.flink\.runtime\.checkpoint\.Checkpoints\.load\w+",
    r"org\.apache\.flink\.runtime\.checkpoint\.CheckpointCoordinator\.restore\w+",
    r"org\.apache\.flink\.runtime\.checkpoint\.StateAssignmentOperation\.\w+",
    r"org\.apache\.flink\.runtime\.state\.filesystem\.AbstractFsCheckpointStorageAccess\.resolve\w+",
    r"org\.apache\.flink\.streaming\.api\.operators\.BackendRestorerProcedure\.\w+",
)
"""Methods that find, read and hand out what a job goes on from."""

_TRACE = re.compile(
    "|".join(
        [
            *(rf"^(?:Caused by: )?{re.escape(name)}(?:$|:)" for name in _EXCEPTIONS),
            *(rf"^\s*at (?:\S+//?)?{frame}\(" for frame in _FRAMES),
        ]
    ),
    re.MULTILINE,
)


def is_restore_failure(trace: str) -> bool:
    """Say whether a stack trace is of a savepoint or checkpoint that does not fit, is damaged or is not there."""
    return bool(_TRACE.search(trace))
