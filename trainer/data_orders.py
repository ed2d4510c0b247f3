"""Orders about data on `headrace.control.v1`: a window to purge, a user to forget (`Order` in protos/models.proto)."""

from __future__ import annotations

import msgspec

from features.json_records import JsonDecoder

PURGE, FORGET = "purge", "forget"


class DataOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`purge` or `forget`."""

    name: str
    """Model name."""
    order: str
    window_start_ms: int = 0
    """Of `purge`: first broker time of what must not have been learnt."""
    window_end_ms: int = 0
    """Not included."""
    user_id: str = ""
    """Of `forget`."""
    time_ms: int = 0
    """Of `forget`: what the broker took up to then is the forgotten user's; what comes after is a new one's."""
    idempotency_key: str = ""
    role: str = ""
    reason: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether it says all that its kind needs."""
        if self.order == PURGE:
            return 0 < self.window_start_ms < self.window_end_ms
        return self.order == FORGET and bool(self.user_id) and self.time_ms > 0


_decoder = JsonDecoder(DataOrder)


def decode_data_order(raw: bytes | None, name: str) -> DataOrder | None:
    """Decode a record of the control topic; None for other kinds, other models and what is no order."""
    try:
        order = _decoder.decode(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return order if order.is_sound and order.name == name else None
