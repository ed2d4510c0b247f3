"""Ids that try to break out: of a Redis command, of a key, of another entity's row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from features.consumed_items import consumed_commands, consumed_key, pack_items
from features.feast_rows import FeastRows, version_argument
from features.feature_topics import FeatureRow, FieldValue

IDS = (
    "a",
    "a:b",
    "*",
    "?",
    "../x",
    "a\r\nSET x y",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "$1\r\nx\r\n",
    "nul\x00",
    "nul",
    "\u202eadA",
    "{}",
    "%s%b%d",
    "ﬁ",
    "fi",
    "🦊",
    "ä" * 64,
    "headrace:shop:consumed:a",
    "headrace:shop:ingester",
    "x" * 10_000,
)


def parsed(raw: bytes) -> Iterator[list[bytes]]:
    """Take commands in Redis' protocol apart, as a server does."""
    while raw:
        assert raw[:1] == b"*"
        count, _, raw = raw[1:].partition(b"\r\n")
        arguments = []
        for _ in range(int(count)):
            assert raw[:1] == b"$"
            size, _, raw = raw[1:].partition(b"\r\n")
            arguments.append(raw[: int(size)])
            assert raw[int(size) : int(size) + 2] == b"\r\n"
            raw = raw[int(size) + 2 :]
        yield arguments


@pytest.mark.parametrize("user_id", IDS)
@pytest.mark.parametrize("item_id", IDS)
def test_an_id_is_one_argument(user_id: str, item_id: str) -> None:
    """Whatever stands in it: two commands, on the user's key, with the item as one member."""
    packed = consumed_commands("shop", user_id, pack_items({item_id: 7}), 2)
    key = consumed_key("shop", user_id).encode()
    assert list(parsed(packed)) == [[b"ZADD", key, b"7", item_id.encode()], [b"ZREMRANGEBYRANK", key, b"0", b"-3"]]


@pytest.mark.parametrize("user_id", IDS)
def test_a_row_is_one_command_on_its_own_key(user_id: str) -> None:
    """Names, percent signs and line ends of an id are bytes of the key."""
    rows = FeastRows("shop")
    fields: dict[str, FieldValue] = {
        "user_shown_item_ids": [user_id],
        "user_shown_times_ms": [7],
        "user_exposure_event_time_ms": 7,
    }
    row = rows.encode(FeatureRow("user_exposure", user_id, fields, 7, 7, {}))
    ((command, key, *arguments),) = parsed(row.head + version_argument(7) + row.tail)
    assert (command, key, len(arguments)) == (b"HSET", rows.key("user_exposure", user_id), 8)


def test_no_two_ids_share_a_key() -> None:
    """Keys of rows and of consumed sets, of users and of the app's own: all are different."""
    rows = FeastRows("shop")
    keys = [rows.key(view, one) for one in IDS for view in ("user_exposure", "item_exposure")]
    keys += [consumed_key("shop", one).encode() for one in IDS]
    assert len(set(keys)) == len(keys)
    assert b"headrace:shop:ingester" not in keys
