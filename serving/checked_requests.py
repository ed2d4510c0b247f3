"""Bytes that are no message are refused in words: gRPC answers UNKNOWN with the name of the Python error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.call_errors import refuse

_REFUSAL = "the request cannot be decoded; send the message that this method takes"


class CheckedServer:
    """Where generated code adds a service to: its methods of one request and one answer refuse what is no message.

    Args:
        server: a `grpc.aio` server.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Add handlers, each behind the check."""
        self._server.add_generic_rpc_handlers(tuple(_CheckedHandler(handler) for handler in handlers))

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """Do nothing, as `grpc.aio` itself does: the same methods come as generic handlers."""


class _CheckedHandler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc comes without types.
    """The methods of a service; each is wrapped when it is first called."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._methods: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        """Return the method, None where it is none of this service."""
        name = handler_call_details.method
        method = self._methods.get(name)
        if method is None:
            found = self._handler.service(handler_call_details)
            if found is None or found.unary_unary is None:
                return found
            method = self._methods[name] = _checked(found)
        return method


def _checked(method: Any) -> Any:
    decode, answer = method.request_deserializer, method.unary_unary

    def decode_if_possible(raw: bytes) -> Any:
        try:
            return decode(raw)
        except DecodeError:
            return None

    async def answer_message(request: Any, context: Any) -> Any:
        if request is not None:
            return await answer(request, context)
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, _REFUSAL)
        return None

    return grpc.unary_unary_rpc_method_handler(answer_message, decode_if_possible, method.response_serializer)
