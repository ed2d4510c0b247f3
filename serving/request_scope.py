"""What holds while one call is answered: its id, for answer and log lines, and its trace where it is sampled."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any

from features.request_id import REQUEST_ID, new_request_id
from serving.answers import Answer
from serving.tracing import TRACE, RequestTrace, Tracing


class RequestScope:
    """Enter it with the call, leave it with the answer.

    Args:
        tracing: begins traces; None where they are off.
        method: of the call.
        context: the call's, whose metadata may name its caller's trace.
    """

    __slots__ = ("_id_token", "_trace", "_trace_token")

    def __init__(self, tracing: Tracing | None, method: str, context: Any) -> None:
        self._trace = None if tracing is None else tracing.begin(method, context.invocation_metadata())

    def __enter__(self) -> RequestScope:
        self._id_token: Token[str] = REQUEST_ID.set(new_request_id())
        if self._trace is not None:
            self._trace_token: Token[RequestTrace | None] = TRACE.set(self._trace)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        REQUEST_ID.reset(self._id_token)
        if self._trace is not None:
            TRACE.reset(self._trace_token)
            self._trace.end(kind)

    def note_answer(self, answer: Answer) -> None:
        """Tell the trace, where there is one, what was answered."""
        if self._trace is not None:
            self._trace.note_answer(answer.request_id, answer.model_version, answer.arm, answer.degraded_reasons)
