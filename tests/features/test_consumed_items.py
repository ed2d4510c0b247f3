"""The commands that keep a user's consumed items are Redis' own."""

from __future__ import annotations

from typing import Any

import pytest

from features.consumed_items import consumed_commands, consumed_key, pack_history, pack_items
from features.errors import BadRowError
from features.feast_values import encode_value
from features.redis_channel import RedisChannel
from tests.features.feature_records import NOW_MS


@pytest.mark.parametrize(
    "consumed",
    [
        {"a": NOW_MS, "b": NOW_MS + 1},
        {"ü": NOW_MS, "a": NOW_MS},
        {"a": 0, "b": -5, "c": NOW_MS},
        {"": 10**12, "x": 10**13 - 1, "y\r\n": 10**13},
        {f"i{number}": NOW_MS + number for number in range(50)},
    ],
    ids=["plain", "umlaut", "old", "edges", "many"],
)
def test_every_item_is_kept_with_its_time(consumed: dict[str, int], redis_client: Any) -> None:
    """Texts beyond ASCII and times of any length too."""
    channel = RedisChannel(redis_client)
    channel.send(consumed_commands("app", "ü1", pack_items(consumed), limit=2000))
    assert channel.receive(2) == [len(consumed), 0]
    found = redis_client.zrange(consumed_key("app", "ü1"), 0, -1, withscores=True)
    assert {member.decode(): score for member, score in found} == consumed


def test_the_oldest_go_over_the_limit(redis_client: Any) -> None:
    """The newest two of three."""
    channel = RedisChannel(redis_client)
    channel.send(consumed_commands("app", "u1", pack_items({"a": 1, "b": 2, "c": 3}), limit=2))
    assert channel.receive(2) == [3, 1]
    assert redis_client.zrange(consumed_key("app", "u1"), 0, -1) == [b"b", b"c"]


@pytest.mark.parametrize(
    "history",
    [
        [],
        [("a", NOW_MS)],
        [("a", NOW_MS), ("ü" * 64, NOW_MS - 1), ("b", 0), ("", 7)],
        [(f"i{number}", 10**number) for number in range(18, -1, -1)],
        [("x" * 300, 2**62)],
    ],
    ids=["empty", "one", "umlauts", "times of all lengths", "long"],
)
def test_a_history_is_packed_as_its_items_are(history: list[tuple[str, int]]) -> None:
    """From Feast's bytes, without reading a text."""
    ids, times = (
        encode_value("string_list", [i for i, _ in history]),
        encode_value("int64_list", [t for _, t in history]),
    )
    assert set(_scores(pack_history(ids, times).arguments)) == set(_scores(pack_items(dict(history)).arguments))
    assert pack_history(ids, times).num_items == len(history)


def test_the_newest_time_of_an_item_counts() -> None:
    """It stands first, and the older ones are left out."""
    ids, times = encode_value("string_list", ["a", "b", "a", "ab"]), encode_value("int64_list", [9, 8, 7, 6])
    assert _scores(pack_history(ids, times).arguments) == [(b"a", b"9"), (b"b", b"8"), (b"ab", b"6")]


@pytest.mark.parametrize(
    ("item_ids", "times_ms"),
    [(["a", "b"], [1]), (["a"], [1, 2]), ([], [1]), (["a"], []), (["a"], [-1])],
    ids=["a time short", "a time more", "no items", "no times", "before 1970"],
)
def test_lists_of_different_lengths_are_refused(item_ids: list[str], times_ms: list[int]) -> None:
    """As half a history is."""
    with pytest.raises(BadRowError):
        pack_history(encode_value("string_list", item_ids), encode_value("int64_list", times_ms))


@pytest.mark.parametrize("cut", range(1, 9))
def test_cut_lists_are_refused(cut: int) -> None:
    """Never read beyond their end."""
    ids, times = encode_value("string_list", ["abc", "def"]), encode_value("int64_list", [NOW_MS, NOW_MS])
    with pytest.raises(BadRowError):
        pack_history(ids[:-cut], times)
    with pytest.raises(BadRowError):
        pack_history(ids, times[:-cut])


def _scores(arguments: bytes) -> list[tuple[bytes, bytes]]:
    parts = arguments.split(b"\r\n")
    return list(zip(parts[3::4], parts[1::4], strict=True))
