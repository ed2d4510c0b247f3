"""Item records as they come from `headrace.items.v1`; the schema of record is `protos/events.proto`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from features.json_records import JsonDecoder
from trainer.errors import SampleError
from trainer.list_builder import ListBuilder

_TimeMs = Annotated[int, msgspec.Meta(gt=-(10**18), lt=10**18)]
"""What arrays of 64 bits hold: what is beyond them is no item, and must not end the trainer."""


class ItemRecord(msgspec.Struct, frozen=True):
    """The fields that the trainer uses of one item."""

    item_id: str
    title: str | None = ""
    categories: list[str] | None = None
    is_available: bool | None = True
    published_time_ms: _TimeMs | None = 0
    expires_time_ms: _TimeMs | None = 0


_decoder = JsonDecoder(ItemRecord)


def apply_item(builder: ListBuilder, key: bytes | None, value: bytes | None) -> None:
    """Take one record over; a null value makes the item of that key unavailable.

    Raises:
        SampleError: the record is no item.
    """
    try:
        if value is None:
            builder.items.remove_item(_checked_id((key or b"").decode()))
            return
        record = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SampleError("not_an_item", f"item record cannot be decoded: {error}") from error
    builder.set_item(
        _checked_id(record.item_id),
        record.title or "",
        [name for name in record.categories or [] if 1 <= len(name.encode()) <= 128],
        is_available=record.is_available is not False,
        published_time_ms=record.published_time_ms or 0,
        expires_time_ms=record.expires_time_ms or 0,
    )


def _checked_id(item_id: str) -> str:
    if not 1 <= len(item_id.encode()) <= 128:
        raise SampleError("bad_id", f"an item id of {len(item_id.encode())} bytes; ids have 1 to 128")
    return item_id
