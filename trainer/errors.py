"""What can go wrong in the trainer.

TrainerError
├── SampleError        a message on headrace.samples.v1 cannot be learnt from
├── CheckpointError    no usable checkpoint, or one that belongs to another configuration
│   └── CheckpointFormatError   the newest checkpoint was written by another version of this code
├── RefusedBatchError  a batch that was kept for inspection cannot be read
├── FencedError        another trainer publishes this model
├── StateBusyError     another process learns in this state directory
└── VersionError       a version in the model store cannot be trusted; `reason` is a short code
    └── StoreError     the store does not answer or refuses: no version is to blame
"""

from __future__ import annotations


class TrainerError(Exception):
    """Expected: the base of everything the trainer raises on purpose."""


class SampleError(TrainerError):
    """Expected: a sample is malformed; it is counted, logged once per reason and skipped."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointError(TrainerError):
    """Expected: a checkpoint is torn, corrupt or of another shape; the one before it is tried."""


class CheckpointFormatError(CheckpointError):
    """Expected: after an upgrade; the state is set aside and the log learnt anew."""


class RefusedBatchError(TrainerError):
    """Expected: there is no such batch, or its files are damaged."""


class FencedError(TrainerError):
    """Expected: this trainer was taken for dead and replaced; it ends and publishes nothing more."""


class StateBusyError(TrainerError):
    """Expected: two trainers over one state would overwrite each other's checkpoints; the second one ends."""


class VersionError(TrainerError):
    """Expected: a version is missing, torn, corrupt or misshapen; the one in use stays in use.

    Args:
        reason: short code such as `file_digest`, fit for a metric label.
        message: the sentence for a person: value, bound and mend.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


class StoreError(VersionError):
    """Expected: the model store does not answer, or refuses; what it was asked for is asked again."""
