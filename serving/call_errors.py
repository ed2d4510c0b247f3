"""What an error answers: the one table of gRPC codes, and texts that tell callers nothing of this machine."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

import grpc

from serving import errors
from serving.security.error_texts import public_text

logger = logging.getLogger(__name__)

STATUS_OF: dict[type[errors.CallError], grpc.StatusCode] = {
    errors.RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.QuotaError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NoModelError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.VersionUnknownError: grpc.StatusCode.NOT_FOUND,
    errors.VersionRefusedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StoreAwayError: grpc.StatusCode.UNAVAILABLE,
    errors.GivenUpError: grpc.StatusCode.UNAVAILABLE,
    errors.NothingHeldError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CanaryError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NoWorkerError: grpc.StatusCode.UNAVAILABLE,
    errors.WorkersDifferError: grpc.StatusCode.ABORTED,
}
"""The one table from domain errors to codes; a test holds it complete."""

RETRY_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata of a refusal; gRPC's own clients wait that long before they try again (gRFC A6)."""

Servicer = TypeVar("Servicer")
Request = TypeVar("Request")
Reply = TypeVar("Reply")


def answers_errors(
    handler: Callable[[Servicer, Request, Any], Awaitable[Reply]],
) -> Callable[[Servicer, Request, Any], Coroutine[Any, Any, Reply | None]]:
    """Let a handler raise: a `CallError` is answered with its code and sentence, all else with INTERNAL and a number.

    gRPC itself would send the text of any exception. Nothing is aborted: what `context.abort` raises holds its call in
    a cycle until Python's collector comes by, and of a connection with a hundred such calls gRPC refuses all others.
    """

    @wraps(handler)
    async def answer(servicer: Servicer, request: Request, context: Any) -> Reply | None:
        try:
            return await handler(servicer, request, context)
        except errors.CallError as error:
            retry_ms = getattr(error, "retry_ms", None)
            if retry_ms is not None:
                context.set_trailing_metadata(((RETRY_KEY, str(retry_ms)),))
            refuse(context, STATUS_OF[type(error)], public_text(str(error)))
        except Exception:
            number = uuid.uuid4().hex[:8]
            logger.exception("internal error %s", number)
            refuse(context, grpc.StatusCode.INTERNAL, f"internal error {number}; the server's log says more of it")
        return None  # gRPC sends no message with an error.

    return answer


def refuse(context: Any, code: grpc.StatusCode, sentence: str) -> None:
    """Say how a call ends once its handler returns."""
    context.set_code(code)
    context.set_details(sentence)
