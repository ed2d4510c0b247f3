"""Laws of errors on their way to callers; `test_servicer.py` and `test_security_guard.py` hold codes and texts."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from serving import errors
from serving.call_errors import answered_errors


class GoneContext:
    """A call whose client gave up in the same moment: gRPC cannot send a status any more."""

    async def abort(self, *_: Any) -> None:
        """Fail as gRPC does."""
        raise grpc.aio.InternalError("Failed execute_batch")


@pytest.mark.parametrize("error", [errors.OverloadedError("too late", retry_ms=1), KeyError("ours")])
async def test_a_caller_who_gave_up_is_no_failure(error: Exception) -> None:
    """It ends as a cancelled call does: gRPC would log a traceback, and a full server has hundreds a second."""
    with pytest.raises(asyncio.CancelledError):
        async with answered_errors(GoneContext()):
            raise error
