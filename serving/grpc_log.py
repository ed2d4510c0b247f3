"""What gRPC's own log is spared of."""

from __future__ import annotations

import logging

LATE_ANSWER = "ExecuteBatchError raised in core by servicer method"
"""How a line of gRPC's log begins that tells of an answer whose caller has gone."""


def keep_late_answers_quiet() -> None:
    """Drop the traceback that gRPC writes for each answer whose caller has gone: a full server has many of them."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_late_answer)


def _is_no_late_answer(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(LATE_ANSWER)
