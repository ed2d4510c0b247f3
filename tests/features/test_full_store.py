"""A Redis without room: writes fail whole and loudly, reads go on, and nothing is lost when there is room again."""

from __future__ import annotations

from typing import Any

import pytest
from redis import RedisError

from tests.features.test_online_writer import claim_field, claimed_writer, row, stored_version


@pytest.fixture
def full_client(redis_client: Any) -> Any:
    """A Redis that refuses every write from `fill` on; it takes them again behind the test."""
    redis_client.config_set("maxmemory-policy", "noeviction")
    yield redis_client
    redis_client.config_set("maxmemory", 0)


def fill(client: Any) -> None:
    """Leave no room: what it holds is already more than it may."""
    client.config_set("maxmemory", 1)


def test_a_write_without_room_leaves_neither_rows_nor_offsets(full_client: Any) -> None:
    """A transaction is refused whole, so the records are read again; what was there is readable meanwhile."""
    writer = claimed_writer(full_client)
    writer.write_rows([row(1.0)], {"t:0": 1})
    before = stored_version(full_client)
    fill(full_client)
    with pytest.raises(RedisError, match=r"OOM|maxmemory"):
        writer.write_rows([row(2.0)], {"t:0": 2})
    assert stored_version(full_client) == before
    assert claim_field(full_client, "t:0") == b"1"


def test_a_write_is_done_again_when_there_is_room(full_client: Any) -> None:
    """Once, with a version above the last one."""
    writer = claimed_writer(full_client)
    writer.write_rows([row(1.0)], {"t:0": 1})
    before = stored_version(full_client)
    fill(full_client)
    with pytest.raises(RedisError):
        writer.write_rows([row(2.0)], {"t:0": 2})
    full_client.config_set("maxmemory", 0)
    writer.write_rows([row(2.0)], {"t:0": 2})
    assert stored_version(full_client) > before
    assert claim_field(full_client, "t:0") == b"2"
