"""The commands that keep a user's consumed items are Redis' own."""

from __future__ import annotations

from typing import Any

import pytest

from features.consumed_items import consumed_commands, consumed_key
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
    channel.send(consumed_commands("app", "ü1", consumed, limit=2000))
    assert channel.receive(2) == [len(consumed), 0]
    found = redis_client.zrange(consumed_key("app", "ü1"), 0, -1, withscores=True)
    assert {member.decode(): score for member, score in found} == consumed


def test_the_oldest_go_over_the_limit(redis_client: Any) -> None:
    """The newest two of three."""
    channel = RedisChannel(redis_client)
    channel.send(consumed_commands("app", "u1", {"a": 1, "b": 2, "c": 3}, limit=2))
    assert channel.receive(2) == [3, 1]
    assert redis_client.zrange(consumed_key("app", "u1"), 0, -1) == [b"b", b"c"]
