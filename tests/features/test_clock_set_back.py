"""A machine whose clock is two days behind the last one: rows are still taken, and their versions still rise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.features.test_online_writer import claim_field, stored_version
from tests.running_stack import ROOT

_WRITE = """
import sys, time
from redis import Redis
from tests.features.test_online_writer import ROWS, row
from features.online_writer import OnlineWriter
host, port, events, offset = sys.argv[1:]
with Redis(host, int(port)) as client:
    writer = OnlineWriter(client, ROWS, "headrace", 2000, "c")
    assert writer.try_claim() is not None
    writer.write_rows([row(float(events))], {"t:0": int(offset)})
    print(round(time.time() * 1000))
"""


def _write_at(skew: str, address: str, events: int) -> int:
    """Write a row in a process of its own whose clock is off; return what time it was there."""
    host, port = address.split(":")
    command = ["faketime", "-f", skew, sys.executable, "-c", _WRITE, host, port, str(events), str(events)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    return int(done.stdout)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_versions_rise_on_a_machine_whose_clock_is_behind(redis_address: str, redis_client: Any) -> None:
    """The next writer goes on above what the store holds, whatever time it is there."""
    ahead_ms = _write_at("+2d", redis_address, 1)
    first = stored_version(redis_client)
    behind_ms = _write_at("-2d", redis_address, 2)
    assert ahead_ms - behind_ms > 3 * 86_400_000
    assert stored_version(redis_client) > first >= ahead_ms - 60_000
    assert claim_field(redis_client, "t:0") == b"2"
