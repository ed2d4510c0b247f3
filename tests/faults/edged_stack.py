"""The whole local stack with a proxy on every line: each part reaches Kafka and Redis over a line of its own.

Kafka has one listener a role, and tells each role's clients to come to that role's proxy: so one part can be cut off
while all others are well. What judges a run reads over lines that nothing happens to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from compose.config import StackConfig
from compose.headrace_parts import all_parts
from compose.local_stack import LocalStack
from compose.part import CommandBuilder, Part, StackLayout
from features.config import Endpoints
from tests.faults.schedule import LINES
from tests.faults.tcp_proxy import ProxyProcess
from tests.oracle.oracle_stack import OracleStack, write_config

ROLES = ("jobs", "ingester", "quality", "trainer", "server")
"""Parts behind lines of their own; `app` is whoever sends events."""
START_S = 1200.0
"""A machine that does much else starts it too."""


@dataclass
class EdgedStack:
    """What runs."""

    oracle: OracleStack
    lines: Mapping[str, ProxyProcess]
    """By `kafka-ROLE` or `redis-ROLE`."""

    @property
    def local(self) -> LocalStack:
        """The parts."""
        return self.oracle.local

    @property
    def app_kafka(self) -> str:
        """Where an app's producer finds Kafka: over its own line."""
        return self.lines["kafka-app"].address


@contextlib.contextmanager
def edged_stack(folder: Path, checkpoint_ms: int = 2000) -> Any:
    """Start it below `folder`; yields an `EdgedStack`."""
    with contextlib.ExitStack() as stack:
        lines = {line: stack.enter_context(ProxyProcess("127.0.0.1:1")) for line in LINES}
        path = _write_config(folder, lines, checkpoint_ms)
        parts = [_behind(part, lines) for part in all_parts(StackConfig()) if part.name in ("kafka", *ROLES)]
        local = stack.enter_context(LocalStack(path, folder / "state", extra_parts=parts))
        endpoints = local.start()
        config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield EdgedStack(OracleStack(local, path, config, endpoints), lines)


def _write_config(folder: Path, lines: Mapping[str, ProxyProcess], checkpoint_ms: int) -> Path:
    path = write_config(folder)
    config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    listeners = {line.removeprefix("kafka-"): lines[line].address for line in lines if line.startswith("kafka-")}
    stack = {"kafka_listeners": listeners, "start_timeout_s": START_S}
    config["stack"] = (config.get("stack") or {}) | stack
    config["streams"] |= {"checkpoint_interval_ms": checkpoint_ms}
    # The gate would hold versions of a stream of dice for what they are; faults are judged here, not models.
    config["trainer"] = (config.get("trainer") or {}) | {"checkpoint_interval_s": 5.0, "keep_batch_log_h": 24.0}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _behind(part: Part, lines: Mapping[str, ProxyProcess]) -> Part:
    if part.name == "kafka":
        return replace(part, command=_telling_proxies(part.command, lines))
    again = part.repeat_command and _over_lines(part.repeat_command, part.name, lines)
    return replace(part, command=_over_lines(part.command, part.name, lines), repeat_command=again)


def _telling_proxies(command: CommandBuilder, lines: Mapping[str, ProxyProcess]) -> CommandBuilder:
    """Ports are known when Kafka, which all others wait for, is about to start."""

    def build(layout: StackLayout) -> Sequence[str]:
        for line, proxy in lines.items():
            store, _, role = line.partition("-")
            proxy.order(f"to {layout.address(f'kafka_{role}' if store == 'kafka' else 'redis')}")
        return command(layout)

    return build


def _over_lines(command: CommandBuilder, role: str, lines: Mapping[str, ProxyProcess]) -> CommandBuilder:
    """Hand a part an endpoints file with the addresses of its own lines."""

    def build(layout: StackLayout) -> Sequence[str]:
        own = {store: proxy.address for store in ("kafka", "redis") if (proxy := lines.get(f"{store}-{role}"))}
        endpoints: Endpoints = layout.endpoints.model_copy(update=own)
        path = layout.state_dir / f"endpoints-over-{role}.json"
        path.write_text(endpoints.model_dump_json(indent=2), encoding="utf-8")
        return [str(path) if word == str(layout.endpoints_path) else word for word in command(layout)]

    return build
