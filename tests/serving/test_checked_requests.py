"""Laws of requests that are no messages; mutated ones by the thousand: `tests/faults/test_fuzz.py`."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from features.security.role import Role
from serving.security.operator_tokens import read_operator_token
from serving.security.roles import HEALTH, MODEL_ADMIN, RECOMMENDER, ROLE_OF
from tests.faults.call_fuzz import served

METHODS = sorted(
    name for name in ROLE_OF if name.startswith((f"/{RECOMMENDER}", f"/{MODEL_ADMIN}", f"/{HEALTH}/Check"))
)
NO_MESSAGE = b"\x0a\x7fshort"


async def test_bytes_that_are_no_message_are_refused_in_words(tmp_path: Path) -> None:
    """By every method, with the code of a bad request, and nothing of the machine."""
    answers = {}
    async with served(tmp_path) as server:
        metadata = (("authorization", f"Bearer {read_operator_token(tmp_path, Role.ADMIN)}"),)
        for method in METHODS:
            address = server.admin_address if MODEL_ADMIN in method else server.address
            async with grpc.aio.insecure_channel(address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(method)(NO_MESSAGE, metadata=metadata)
            answers[method] = (caught.value.code(), caught.value.details())
        async with grpc.aio.insecure_channel(server.address) as channel:
            health = health_pb2.HealthCheckResponse.FromString(await channel.unary_unary(f"/{HEALTH}/Check")(b""))
    words = "the request cannot be decoded; send the message that this method takes"
    assert answers == dict.fromkeys(METHODS, (grpc.StatusCode.INVALID_ARGUMENT, words))
    assert health.status == health_pb2.HealthCheckResponse.SERVING
