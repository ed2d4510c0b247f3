"""What can go wrong while the jobs are submitted.

StreamsError
├── JarsMissingError      Expected
├── ClusterError          Expected
└── RestoreRefusedError   Expected
"""

from __future__ import annotations


class StreamsError(Exception):
    """Expected: the jobs cannot be submitted; the message says what to mend."""


class JarsMissingError(StreamsError):
    """Expected: the Kafka connector is not where `--jars` points."""


class ClusterError(StreamsError):
    """Expected: the Flink cluster does not answer, or a job on it does not come up."""


class RestoreRefusedError(StreamsError):
    """Expected: Flink does not accept the retained checkpoint for this plan."""
