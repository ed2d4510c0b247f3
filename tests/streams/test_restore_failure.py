"""Stack traces of failures that a checkpoint is to blame for, and of others."""

from __future__ import annotations

import pytest

from streams.restore_failure import is_restore_failure

DOES_NOT_FIT = """org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.
\tat org.apache.flink.runtime.jobmaster.DefaultJobMasterServiceProcess.lambda$new$0(DefaultJobMaster.java:97)
Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/s/chk-1. Cannot map state
\tat org.apache.flink.runtime.checkpoint.Checkpoints.loadAndValidateCheckpoint(Checkpoints.java:220)
\tat org.apache.flink.runtime.checkpoint.CheckpointCoordinator.restoreSavepoint(CheckpointCoordinator.java:2010)
"""
DAMAGED = """java.lang.Exception: Exception while creating StreamOperatorStateContext.
\tat org.apache.flink.streaming.api.operators.StreamTaskStateInitializerImpl.streamOperatorStateContext(X.java:330)
Caused by: org.apache.flink.runtime.state.BackendBuildingException: Failed when trying to restore heap backend
Caused by: java.io.EOFException
\tat java.base/java.io.DataInputStream.readInt(DataInputStream.java:398)
"""
OTHER = """java.lang.IllegalStateException: The checkpoint state of the producer is closed
\tat org.apache.kafka.clients.producer.KafkaProducer.throwIfProducerClosed(KafkaProducer.java:900)
\tat org.apache.flink.streaming.runtime.tasks.StreamTask.restoreStateAndGates(StreamTask.java:731)
"""


@pytest.mark.parametrize(("trace", "is_one"), [(DOES_NOT_FIT, True), (DAMAGED, True), (OTHER, False), ("", False)])
def test_the_place_of_a_failure_decides_and_not_its_words(trace: str, is_one: bool) -> None:
    """`IllegalStateException`, "checkpoint" and "state" are in any Flink failure."""
    assert is_restore_failure(trace) is is_one
