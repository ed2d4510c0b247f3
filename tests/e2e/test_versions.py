"""Versions on the real stack: orders work, bad ones are refused, a swap fails nobody."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from headrace_client import EventProducer, Recommender
from tests.e2e.app import covers, parse_version, send_like
from tests.running_stack import ROOT, RunningStack, wait_for

pytestmark = pytest.mark.stack


def headrace(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line against the stack."""
    command = [sys.executable, "-m", "compose.cli", *arguments, "--state", stack.endpoints.state]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def models(stack: RunningStack) -> list[dict[str, Any]]:
    """Return what `headrace models --json` prints."""
    listed: list[dict[str, Any]] = json.loads(headrace(stack, "models", "--json").stdout)
    return listed


def live_version(recommender: Recommender) -> str:
    """Return the version that answers now."""
    return recommender.recommend("nobody", surface="probe").model_version


def test_rollback_stays_until_unpin(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """After a rollback newer versions are not picked up; `unpin` follows again, past what was rolled back from."""
    start = live_version(recommender)
    ack = send_like(producer, "roller", tastes[1][0])
    newer = wait_for(lambda: covers(stack, recommender, ack), "a newer version").model_version
    done = headrace(stack, "rollback", start)
    assert done.returncode == 0, done.stderr
    assert live_version(recommender) == start
    send_like(producer, "roller", tastes[1][1])
    assert headrace(stack, "status").returncode == 0
    assert live_version(recommender) == start
    assert headrace(stack, "unpin").returncode == 0
    assert headrace(stack, "reload").returncode == 0
    wait_for(lambda: parse_version(live_version(recommender)) > parse_version(newer), "a version behind what was left")


def test_a_corrupted_snapshot_is_refused_and_the_old_version_serves(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """One flipped byte in the snapshot that a version rests on: going back fails with a sentence, nothing changes."""
    victim = live_version(recommender)
    ack = send_like(producer, "corruptor", tastes[1][2])
    wait_for(lambda: covers(stack, recommender, ack), "a newer version")
    snapshots = [path.parent for path in Path(stack.endpoints.model_store).rglob("manifest.json")]
    below = [path for path in snapshots if parse_version(path.name) <= parse_version(victim)]
    damaged = max(below, key=lambda path: parse_version(path.name)) / "items.safetensors"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        refused = headrace(stack, "rollback", victim)
    finally:
        damaged.write_bytes(content)
    assert refused.returncode == 8
    assert "Traceback" not in refused.stderr
    assert victim in refused.stderr or "digest" in refused.stderr
    assert live_version(recommender) != victim


def test_a_burst_across_swaps_fails_nobody(
    stack: RunningStack, producer: EventProducer, recommender: Recommender, tastes: list[list[str]]
) -> None:
    """Four callers without pause while versions change: every answer is whole, versions never fall."""
    answers: list[list[tuple[int, int]]] = [[] for _ in range(4)]
    failures: list[Exception] = []
    done = threading.Event()

    def call(seen: list[tuple[int, int]]) -> None:
        while not done.is_set():
            try:
                reply = recommender.recommend("burst", 10, "probe")
                assert len(reply.items) == 10
                seen.append(parse_version(reply.model_version))
            except Exception as error:  # Whatever it is, it is a failed request.
                failures.append(error)

    callers = [threading.Thread(target=call, args=(seen,)) for seen in answers]
    for caller in callers:
        caller.start()
    try:
        for step in range(3):
            ack = send_like(producer, f"swapper-{step}", tastes[3][step])
            wait_for(functools.partial(covers, stack, recommender, ack), "a swap under load")
    finally:
        done.set()
        for caller in callers:
            caller.join(30)
    assert failures == []
    assert all(seen == sorted(seen) for seen in answers)
    assert len({version for seen in answers for version in seen}) >= 3


def test_an_unknown_version_is_named_in_the_refusal(stack: RunningStack) -> None:
    """A version that is not kept is one sentence and exit code 8."""
    refused = headrace(stack, "rollback", "99.99")
    assert refused.returncode == 8
    assert "99.99" in refused.stderr


def test_models_lists_the_live_version_once(stack: RunningStack, tastes: list[list[str]]) -> None:
    """Exactly one version is live."""
    assert len([model for model in models(stack) if model.get("is_live")]) == 1
