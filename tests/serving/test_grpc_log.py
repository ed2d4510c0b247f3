"""What gRPC logs of its own accord."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from grpc._cython import cygrpc

from serving.grpc_log import LATE_ANSWER, keep_late_answers_quiet

METHOD = "/headrace.test/Echo"


@pytest.mark.parametrize("is_quiet", [False, True])
def test_answers_that_come_late_leave_no_traceback(is_quiet: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Who hung up is no fault of ours; everything else that gRPC has to say is still told."""
    log = logging.getLogger("grpc._cython.cygrpc")
    if is_quiet:
        keep_late_answers_quiet()
    try:
        log.error(LATE_ANSWER + " [%s]", METHOD)
        log.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", METHOD)
    finally:
        log.filters.clear()
    assert [METHOD in line and line.split()[0] for line in caplog.messages] == [
        *([] if is_quiet else ["ExecuteBatchError"]),
        "Unexpected",
    ]


def test_grpc_still_says_it_in_these_words() -> None:
    """A release of gRPC that words it otherwise makes the filter useless; then this test says so."""
    assert LATE_ANSWER.encode() in Path(cygrpc.__file__).read_bytes()
