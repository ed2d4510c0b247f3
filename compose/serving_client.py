"""The command line's calls to the server: recommendations, and orders to ModelAdmin."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from compose.errors import AdminError, StackNotRunningError
from compose.serving_access import ServingAccess, open_grpc_channel
from features.config import Endpoints
from features.security.role import Role
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc

_TIMEOUT_S = 10.0
_ORDER_S = 120.0
"""A version between snapshots takes up to a minute to build, and there may be an order before."""
_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def recommend(
    address: str, access: ServingAccess, user_id: str, num_items: int, surface: str, include_heads: bool = False
) -> pb.RecommendResponse:
    """Ask the Recommender.

    Raises:
        StackNotRunningError: no server answers there.
        AdminError: it refuses the request.
    """
    with _errors_in_words(address), open_grpc_channel(address, access.tls) as channel:
        request = pb.RecommendRequest(
            user_id=user_id, num_items=num_items, surface=surface, include_heads=include_heads
        )
        stub: Any = serving_pb2_grpc.RecommenderStub(channel)  # type: ignore[no-untyped-call]
        answer: pb.RecommendResponse = stub.Recommend(request, metadata=access.metadata, timeout=_TIMEOUT_S)
        return answer


class AdminClient:
    """Orders to the ModelAdmin of one stack; each call is one order with an idempotency key of its own."""

    def __init__(
        self, endpoints: Endpoints, token_file: Path | None = None, access: ServingAccess | None = None
    ) -> None:
        """Take the token from a file, else the one in the state directory; or what somebody else has found.

        Raises:
            StackNotRunningError: there is none.
            StackError: the file cannot be read.
        """
        self._address = endpoints.admin
        self._access = access or ServingAccess.of(endpoints, Role.ADMIN, token_file)
        if not self._access.token:
            raise StackNotRunningError(f"no admin token in {endpoints.state}; `headrace up` makes one")

    def list_models(self) -> list[pb.ModelVersionStatus]:
        """Return the versions that the server knows."""
        answer: pb.ListModelsResponse = self._call("ListModels", pb.ListModelsRequest())
        return list(answer.versions)

    def load(self, version: str, canary_share: float = 0.0) -> pb.ModelVersionStatus:
        """Serve a version, to a share of the users first where one is given."""
        request = pb.LoadModelRequest(idempotency_key=_new_key(), version=version, canary_share=canary_share)
        return self._order("LoadModel", request)

    def release(self) -> pb.ModelVersionStatus:
        """Serve the newest version that the trainer's gate holds."""
        return self._order("ReleaseModel", pb.ReleaseModelRequest(idempotency_key=_new_key()))

    def reject(self, reason: str) -> pb.ModelVersionStatus:
        """Drop the newest version that the trainer's gate holds."""
        return self._order("RejectModel", pb.RejectModelRequest(idempotency_key=_new_key(), reason=reason))

    def reload(self) -> pb.ModelVersionStatus:
        """Read the newest announced version again."""
        return self._order("ReloadModel", pb.ReloadModelRequest(idempotency_key=_new_key()))

    def rollback(self, version: str) -> pb.ModelVersionStatus:
        """Go back to a version; the one before the live one where it is empty."""
        return self._order("RollbackModel", pb.RollbackModelRequest(idempotency_key=_new_key(), version=version))

    def pin(self, version: str) -> pb.ModelVersionStatus:
        """Stay at a version; the live one where it is empty."""
        return self._order("PinModel", pb.PinModelRequest(idempotency_key=_new_key(), version=version))

    def unpin(self) -> pb.ModelVersionStatus:
        """Follow the announcements again."""
        return self._order("UnpinModel", pb.UnpinModelRequest(idempotency_key=_new_key()))

    def _order(self, method: str, request: Any) -> pb.ModelVersionStatus:
        status: pb.ModelVersionStatus = self._call(method, request, is_order=True).status
        return status

    def _call(self, method: str, request: Any, is_order: bool = False) -> Any:
        timeout_s = _ORDER_S if is_order else _TIMEOUT_S
        with _errors_in_words(self._address, is_order), open_grpc_channel(self._address, self._access.tls) as channel:
            stub: Any = serving_pb2_grpc.ModelAdminStub(channel)  # type: ignore[no-untyped-call]
            return getattr(stub, method)(request, metadata=self._access.metadata, timeout=timeout_s)


def _new_key() -> str:
    return f"cli-{uuid.uuid4()}"


@contextmanager
def _errors_in_words(address: str, is_order: bool = False) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        call: Any = error
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and is_order:
            raise AdminError(
                "the server has not carried the order out yet and may still do; `headrace models` shows what serves"
            ) from error
        if call.code() in _UNREACHABLE:
            raise StackNotRunningError(f"no server answers at {address}; see `headrace status`") from error
        raise AdminError(f"the server refuses: {call.details()}") from error
