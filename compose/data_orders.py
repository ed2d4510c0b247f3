"""What `headrace purge` and `headrace forget` share: an order for the trainer, its answer, and an audit line."""

from __future__ import annotations

import getpass
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from compose.errors import StackError, StackNotRunningError
from compose.state_file import read_state_file
from features.kafka_connection import kafka_settings
from features.quality.hold_table import CONTROL_TOPIC

AUDIT_FILE = "audit.jsonl"
_TIMEOUT_S = 10.0
_POLL_S = 0.2


def now_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def send_order(bootstrap: str, name: str, **said: Any) -> None:
    """Write an order to `headrace.control.v1` and wait until Kafka has it.

    Args:
        bootstrap: Kafka's servers.
        name: model name.
        said: the other fields of `Order` in protos/models.proto.

    Raises:
        StackNotRunningError: Kafka does not take it.
    """
    order = {"idempotency_key": f"cli-{uuid.uuid4()}", "name": name, "role": "ops", **said}
    send_records(bootstrap, CONTROL_TOPIC, [(name.encode(), msgspec.json.encode(order))])


def send_records(bootstrap: str, topic: str, records: list[tuple[bytes | None, bytes | None]]) -> None:
    """Write records and wait until Kafka has all of them.

    Raises:
        StackNotRunningError: it does not take them.
    """
    try:
        producer = KafkaProducer(**kafka_settings(bootstrap), acks="all", max_block_ms=int(1000 * _TIMEOUT_S))
        try:
            for future in [producer.send(topic, key=key, value=value) for key, value in records]:
                future.get(timeout=_TIMEOUT_S)
        finally:
            producer.close(timeout=_TIMEOUT_S)
    except KafkaError as error:
        raise StackNotRunningError(f"Kafka at {bootstrap} does not answer ({error}); see `headrace status`") from error


def trainer_status(state: Path) -> dict[str, Any]:
    """Return what the trainer last said of itself; nothing where it never did."""
    return read_state_file(state / "trainer.json")


def wait_for_purge(state: Path, window: tuple[int, int], timeout_s: float) -> dict[str, Any]:
    """Wait until the trainer has learnt again without a window; return what it says.

    Raises:
        StackError: it cannot, or does not within `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        status = trainer_status(state)
        quarantine: dict[str, Any] = status.get("quarantine", {})
        if list(window) in quarantine.get("windows", []):
            if list(window) not in quarantine.get("waiting", []):
                return quarantine
            if status.get("purge_error"):
                raise StackError(
                    f"the trainer keeps what it learnt of the window: {status['purge_error']}. Nothing more of it is "
                    "learnt; `headrace models` has older versions to roll back to (docs/purge.md)"
                )
        time.sleep(_POLL_S)
    raise StackError(
        f"the trainer has not said within {timeout_s:g} s that the window is out; the order stands, `headrace status` "
        "and logs/trainer.log tell when it is carried out"
    )


def write_audit(state: Path, command: str, **said: Any) -> None:
    """Add a line to `STATE/audit.jsonl`: who ordered what, when.

    Raises:
        StackError: the disk refuses; nothing may be ordered without a line.
    """
    line = {"time_ms": now_ms(), "command": command, "by": _who(), **said}
    try:
        state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state / AUDIT_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StackError(f"{state / AUDIT_FILE} cannot be written ({error.strerror}), so nothing was done") from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
