"""All down, then up in any order: each part waits for what it needs, and none dies of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from compose.config import StackConfig
from compose.headrace_parts import all_parts
from compose.local_stack import LocalStack
from compose.part import CommandBuilder, Part, StackLayout
from headrace_client import Recommender
from tests.running_stack import ROOT, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(1500)]
NAMES = ("kafka", "redis", "ingester", "trainer", "server")
PAUSE_S = 6
ORDERS = [
    ("ingester", "trainer", "server", "redis", "kafka"),
    ("server", "kafka", "ingester", "redis", "trainer"),
    ("kafka", "trainer", "ingester", "server", "redis"),
]


def _started_after(part: Part, pause_s: int) -> Part:
    def build(layout: StackLayout, command: CommandBuilder = part.command) -> Sequence[str]:
        words = list(command(layout))
        return ["/bin/sh", "-c", f"sleep {pause_s}; exec {shlex.join(words)}"]

    return replace(part, command=build, needs=())


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_parts_come_up_in_any_order(order: tuple[str, ...], tmp_path: Path) -> None:
    """Nobody is started for them anew, and a list comes back with all of them up."""
    known = {part.name: part for part in all_parts(StackConfig())}
    parts = [_started_after(known[name], PAUSE_S * place) for place, name in enumerate(order)]
    config = tmp_path / "headrace.yaml"
    shipped = (ROOT / "headrace.yaml").read_text()
    config.write_text(f"{shipped}\nstack:\n  start_timeout_s: 1200\n")
    with LocalStack(config, tmp_path / "state", parts=["topics"], extra_parts=parts) as stack:
        endpoints = stack.start()
        with Recommender(endpoints.serving, deadline_s=10.0) as recommender:
            wait_for(lambda: recommender.recommend("nobody", 5, "probe").request_id, "an answer", 60)
        assert {name: stack.restarts(name) for name in NAMES} == dict.fromkeys(NAMES, 0)
