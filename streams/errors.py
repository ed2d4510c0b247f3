"""What can go wrong while the jobs are submitted.

StreamsError
├── JarsMissingError      Expected
├── ClusterError          Expected
│   └── JobFailedError    Expected
├── RestoreRefusedError   Expected
└── HistoryLostError      Expected
"""

from __future__ import annotations


class StreamsError(Exception):
    """Expected: the jobs cannot be submitted; the message says what to mend."""


class JarsMissingError(StreamsError):
    """Expected: the Kafka connector is not where `--jars` points."""


class ClusterError(StreamsError):
    """Expected: the Flink cluster does not answer, or a job on it does not come up."""


class JobFailedError(ClusterError):
    """Expected: a submitted job failed.

    Args:
        message: what happened.
        trace: Java's stack trace.
    """

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace


class RestoreRefusedError(StreamsError):
    """Expected: Flink does not accept the retained checkpoint for this plan."""


class HistoryLostError(StreamsError):
    """Expected: a job could only start empty, and what it had counted is not in Kafka any more."""
