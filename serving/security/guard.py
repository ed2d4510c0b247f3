"""Holds every gRPC call to the table of roles: default deny."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc

from features.security.role import Role
from features.security.token_file import Tokens
from features.security.tokens import token_of
from serving.call_errors import refuse
from serving.security.roles import ROLE_OF

_NO_METHOD = (grpc.StatusCode.PERMISSION_DENIED, "no role may call this method")


def _answers_of(role: Role) -> dict[str, tuple[grpc.StatusCode, str]]:
    """Return what is answered to callers that may not act in a role, by reason."""
    return {
        "token": (
            grpc.StatusCode.UNAUTHENTICATED,
            f"this call needs the metadata `authorization: Bearer TOKEN` with a valid token of role {role}; "
            "`headrace tokens create` makes one",
        ),
        "role": (grpc.StatusCode.PERMISSION_DENIED, f"this token has another role; the call needs one of role {role}"),
    }


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc comes without types.
    """Lets through what the table allows.

    Args:
        tokens: judges tokens.
        role_of: the table.
    """

    def __init__(self, tokens: Tokens, role_of: Mapping[str, Role | None] = ROLE_OF) -> None:
        self._tokens = tokens
        self._role_of = role_of
        self._no_method = _refusal(*_NO_METHOD)
        self._refusals = {
            (role, reason): _refusal(*answer) for role in Role for reason, answer in _answers_of(role).items()
        }

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Let a call through, or answer UNAUTHENTICATED or PERMISSION_DENIED before its request is read."""
        try:
            role = self._role_of[details.method]
        except KeyError:
            self._tokens.refused["method"] += 1
            return self._no_method
        if role is None or not self._tokens.guards(role):
            return await continuation(details)
        reason = self._tokens.why_not(role, token_of(details.invocation_metadata))
        return self._refusals[role, reason] if reason else await continuation(details)


def _refusal(code: grpc.StatusCode, sentence: str) -> Any:
    """Return a handler that ends a call of any kind; as one of streams it waits for no request."""
    return grpc.stream_stream_rpc_method_handler(partial(_refuse, code, sentence))


async def _refuse(code: grpc.StatusCode, sentence: str, _requests: Any, context: Any) -> None:
    refuse(context, code, sentence)
