"""Trainer and server as processes over an S3 server: published there, served from there, and from here without it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from compose.local_stack import LocalStack
from tests.running_stack import ROOT, wait_for
from tests.store_places import SECRET_KEY, S3Server, running_s3_server

PARTS = ["kafka", "redis", "topics", "features-apply", "trainer", "server"]


def config_with(folder: Path, server: S3Server) -> Path:
    """Write the shipped configuration with its snapshots on the S3 server."""
    store = server.config.model_copy(update={"uri": "s3://models/e2e"})
    path = folder / "headrace.yaml"
    shipped = (ROOT / "headrace.yaml").read_text(encoding="utf-8")
    path.write_text(f"{shipped}\nmodel_store: {store.model_dump_json(exclude_defaults=True)}\n", encoding="utf-8")
    return path


def status_of(state: Path, part: str) -> dict[str, Any]:
    """Read what a part says of itself; nothing where it said nothing yet."""
    try:
        status: dict[str, Any] = json.loads((state / f"{part}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return status


@pytest.mark.stack
def test_a_stack_over_s3_serves_on_without_it(tmp_path: Path) -> None:
    """The store dies, then the server: the next one serves the copy, says why, and no log knows the keys."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    state = tmp_path / "state"
    with running_s3_server() as s3, LocalStack(config_with(tmp_path, s3), state, parts=PARTS) as stack:
        assert stack.start().model_store == "s3://models/e2e"
        before = wait_for(lambda: (found := status_of(state, "serving")).get("model_version") and found, "a version")
        assert status_of(state, "trainer")["publishing"]["store"] == "s3://models/e2e/headrace"
        s3.process.kill()
        os.kill(before["pid"], signal.SIGKILL)
        after = wait_for(lambda: _other_than(before, status_of(state, "serving")), "a server without the store")
        assert after["model_version"] == before["model_version"]
        assert "cannot list s3://models/e2e/headrace" in after["store_error"]
    logs = [path.read_text(errors="replace") for path in (state / "logs").iterdir()]
    assert not any(SECRET_KEY in text for text in [*logs, (state / "endpoints.json").read_text()])


def _other_than(before: dict[str, Any], status: dict[str, Any]) -> dict[str, Any] | None:
    """Return the status of another process than before, once it told of the store."""
    return status if status.get("store_error") and status["pid"] != before["pid"] else None
