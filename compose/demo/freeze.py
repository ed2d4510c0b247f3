"""The frozen side of `--compare`: a second server, pinned through a ModelAdmin of its own."""

from __future__ import annotations

from dataclasses import dataclass

from compose.headrace_parts import extra_server_part
from compose.part import Part
from compose.ports import HOST, free_ports
from compose.serving_client import AdminClient
from features.config import Endpoints

FROZEN_PART = "server-frozen"


@dataclass(frozen=True, slots=True)
class FrozenServer:
    """A running second server."""

    address: str
    """Of its Recommender."""
    admin_address: str
    """Of its ModelAdmin."""


def frozen_server_part() -> tuple[Part, str]:
    """Return a second server to run beside the stack's own, and the address of its ModelAdmin."""
    admin_address = f"{HOST}:{free_ports(1)[0]}"
    return extra_server_part(FROZEN_PART, ("--admin-address", admin_address)), admin_address


def pin_model(endpoints: Endpoints, admin_address: str) -> str:
    """Pin a server at the version it serves now, and return that version.

    Raises:
        StackError: the server cannot be reached or refuses.
    """
    return str(AdminClient(endpoints.model_copy(update={"admin": admin_address})).pin("").version)
