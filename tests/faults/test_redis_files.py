"""Redis' own file torn and damaged: it comes back, with all but the last write or empty, and needs no hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from compose.local_stack import LocalStack
from tests.running_stack import ROOT

KEYS = 200
SIZE = 50


def _keys_behind(folder: Path, spoil: Callable[[bytearray], None]) -> tuple[int, str]:
    """Write keys, stop, spoil the newest file, start again; return how many keys are there and what the log says."""
    state = folder / "state"
    for turn in range(2):
        with LocalStack(ROOT / "headrace.yaml", state, parts=["redis"]) as stack:
            host, _, port = stack.start().redis.partition(":")
            with Redis(host, int(port)) as client:
                if turn:
                    return client.dbsize(), stack.log_path("redis").read_text()
                for number in range(KEYS):
                    client.set(f"key-{number:04d}", "x" * SIZE)
        (file,) = (state / "redis").rglob("*.aof" if (state / "redis" / "appendonly.aof").exists() else "*.incr.aof")
        content = bytearray(file.read_bytes())
        spoil(content)
        file.write_bytes(content)
    raise AssertionError("not reached")


@pytest.mark.stack
def test_a_torn_tail_costs_the_last_write_alone(tmp_path: Path) -> None:
    """As after a power cut in the middle of it."""
    keys, log = _keys_behind(tmp_path, lambda content: content.__delitem__(slice(-SIZE // 2, None)))
    assert keys == KEYS - 1
    assert "damaged" not in log


@pytest.mark.stack
def test_a_damaged_file_is_put_aside_and_redis_starts(tmp_path: Path) -> None:
    """It ends over the file first, and then comes up empty; the file stays to be looked at."""

    def spoil(content: bytearray) -> None:
        middle = content.index(b"key-0100")
        content[middle - 5 : middle] = b"@@@@@"  # The length that stands before a word.

    keys, log = _keys_behind(tmp_path, spoil)
    assert keys == 0
    assert "damaged-1; features are read from Kafka again" in log
    assert list((tmp_path / "state" / "redis" / "damaged-1").rglob("*.aof"))
