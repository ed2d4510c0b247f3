"""Pinning a server at its current version, through its ModelAdmin: the frozen side of `--compare`."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import grpc

from compose.demo.errors import DemoError
from compose.headrace_parts import extra_server_part
from compose.part import Part
from compose.ports import HOST, free_ports
from protos import serving_pb2, serving_pb2_grpc

FROZEN_PART = "server-frozen"
_STATUS_NAME = "serving-frozen"
_ORDER_TIMEOUT_S = 10.0


def frozen_server_part() -> tuple[Part, str]:
    """Return a second server beside the stack's own, and the address of its ModelAdmin."""
    admin_address = f"{HOST}:{free_ports(1)[0]}"
    return extra_server_part(FROZEN_PART, ("--admin-address", admin_address, "--name", _STATUS_NAME)), admin_address


def pin_model(admin_address: str, token_path: Path) -> str:
    """Pin a server at the version it serves now, and return that version.

    Raises:
        DemoError: the server cannot be reached or refuses.
    """
    try:
        token = token_path.read_text(encoding="utf-8").strip()
        with grpc.insecure_channel(admin_address) as channel:
            stub: Any = serving_pb2_grpc.ModelAdminStub(channel)  # type: ignore[no-untyped-call]
            reply = stub.PinModel(
                serving_pb2.PinModelRequest(idempotency_key=f"demo-{uuid.uuid4()}"),
                metadata=(("authorization", f"Bearer {token}"),),
                timeout=_ORDER_TIMEOUT_S,
                wait_for_ready=True,
            )
    except OSError as error:
        raise DemoError(f"cannot read the admin token {token_path}: {error.strerror}") from error
    except grpc.RpcError as error:
        call: Any = error
        raise DemoError(f"the server at {admin_address} was not frozen: {call.code().name} {call.details()}") from error
    return str(reply.status.version)
