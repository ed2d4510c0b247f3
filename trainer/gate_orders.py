"""Orders of ops about a version that the gate holds, from `headrace.control.v1` (`Order` in `protos/models.proto`)."""

from __future__ import annotations

import msgspec

from features.json_records import JsonDecoder

RELEASE, REJECT = "release", "reject"


class GateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`release` or `reject`."""

    name: str
    """Model name."""
    order: str
    version: str = ""
    """The held version that is meant; empty for whichever is held."""
    idempotency_key: str = ""
    role: str = ""
    reason: str = ""


_decoder = JsonDecoder(GateOrder)


def decode_gate_order(raw: bytes | None, name: str) -> GateOrder | None:
    """Decode a record of the control topic; None for other kinds, other models and what is no order."""
    try:
        order = _decoder.decode(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return order if order.order in (RELEASE, REJECT) and order.name == name else None
