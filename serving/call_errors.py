"""What an error answers: the one table of gRPC codes, and texts that tell callers nothing of this machine."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


@asynccontextmanager
async def answered_errors(context: Any) -> AsyncIterator[None]:
    """Answer a `CallError` of the body with its code and sentence, anything else with INTERNAL and a number.

    gRPC itself would send the text of any exception.

    Raises:
        CancelledError: the client has gone, so nobody hears.
    """
    try:
        yield
    except errors.CallError as error:
        retry_ms = getattr(error, "retry_ms", None)
        metadata = () if retry_ms is None else ((RETRY_KEY, str(retry_ms)),)
        await _abort(context, STATUS_OF[type(error)], public_text(str(error)), metadata)
    except Exception:
        number = uuid.uuid4().hex[:8]
        logger.exception("internal error %s", number)
        await _abort(context, grpc.StatusCode.INTERNAL, f"internal error {number}; the server's log says more of it")


async def _abort(context: Any, code: grpc.StatusCode, text: str, metadata: tuple[tuple[str, str], ...] = ()) -> None:
    """End a call; who gave up in the same moment is not told, and no fault of ours.

    gRPC would write a traceback into the log for each, and a full server has hundreds of them a second.
    """
    try:
        await context.abort(code, text, metadata)
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error
