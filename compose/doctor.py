"""`headrace doctor`: what is missing, damaged or busy on this machine, and how to mend it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console

from compose.config import PortsConfig
from compose.errors import NotInstalledError
from compose.flink_cluster import flink_home
from compose.jars import damaged_jars, read_lock
from compose.java_runtime import java_home, java_version
from compose.local_stack import is_stack_running
from compose.part import PROJECT_ROOT
from compose.ports import holder_of, is_free
from compose.redis_server import redis_binary
from features.config import ConfigError
from features.model_store_config import ModelStoreConfig
from trainer.version_files import StoreError, open_versions

NEEDED_MEMORY_MB = 4500
"""Resident memory of the whole stack under the demo, with some room."""
NEEDED_DISK_MB = 3000
"""Logs, Kafka's segments, checkpoints and snapshots of a day's work."""
_PACKAGES = ("apache-flink", "feast", "torch", "kafka-python", "redis", "grpcio", "river")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    is_ok: bool
    detail: str
    mend: str = ""
    """What to do about it; empty where nothing has to be done."""


def examine(
    state_dir: Path, ports: PortsConfig, model_store: ModelStoreConfig, name: str, root: Path = PROJECT_ROOT
) -> list[Finding]:
    """Run every check; none of them changes anything."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_packages,
        check_java,
        check_redis,
        check_flink,
        lambda: check_jars(root),
        lambda: check_memory(psutil.virtual_memory().available // 2**20),
        lambda: check_disk(state_dir),
        lambda: check_model_store(model_store, name),
    ]
    findings = [check() for check in checks]
    if is_stack_running(state_dir):
        return [*findings, Finding("stack", True, f"runs in {state_dir}, its ports are its own")]
    return findings + check_ports(ports)


def check_python() -> Finding:
    """Check the interpreter's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    is_ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("python", is_ok, found, "" if is_ok else "Python 3.11 or 3.12 is needed; `make setup` brings one")


def check_packages() -> Finding:
    """Check that the Python environment is whole."""
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", "run `make setup`")
    return Finding("packages", True, f"{len(_PACKAGES)} of {len(_PACKAGES)} looked for")


def check_java() -> Finding:
    """Check that a Java can be found."""
    try:
        home = java_home()
    except NotInstalledError as error:
        return Finding("java", False, str(error), "run `make setup`, or set JAVA_HOME to a Java 17 or newer")
    return Finding("java", True, f"{java_version(home)} in {home}")


def check_redis() -> Finding:
    """Check that a `redis-server` can be found."""
    try:
        return Finding("redis", True, str(redis_binary()))
    except NotInstalledError as error:
        return Finding("redis", False, str(error), "run `make setup`, or put a redis-server on PATH")


def check_flink() -> Finding:
    """Check that the Flink distribution is there."""
    try:
        jars = list((flink_home() / "lib").glob("flink-dist-*.jar"))
    except NotInstalledError as error:
        return Finding("flink", False, str(error), "run `make setup`")
    if not jars:
        return Finding("flink", False, "the wheel has no flink-dist jar", "remove .venv and run `make setup`")
    return Finding("flink", True, jars[0].stem)


def check_jars(root: Path) -> Finding:
    """Check every jar against the lock file."""
    try:
        count, damaged = len(read_lock(root / "jgo.lock.toml")), damaged_jars(root)
    except NotInstalledError as error:
        return Finding("jars", False, str(error), "take jgo.lock.toml from the repository again")
    if damaged:
        names = f"{damaged[0].file_name}{' and others' if len(damaged) > 1 else ''}"
        return Finding("jars", False, f"{len(damaged)} of {count} missing or damaged: {names}", "run `make setup`")
    return Finding("jars", True, f"{count} verified against jgo.lock.toml")


def check_memory(available_mb: int) -> Finding:
    """Check that the stack fits into what is free."""
    is_ok = available_mb >= NEEDED_MEMORY_MB
    mend = "" if is_ok else f"end other programs: the stack takes about {NEEDED_MEMORY_MB} MB"
    return Finding("memory", is_ok, f"{available_mb} MB free", mend)


def check_disk(state_dir: Path) -> Finding:
    """Check the disk that holds the state directory."""
    existing = next(path for path in (state_dir.resolve(), *state_dir.resolve().parents) if path.exists())
    free_mb = shutil.disk_usage(existing).free // 2**20
    is_ok = free_mb >= NEEDED_DISK_MB
    mend = "" if is_ok else f"free {NEEDED_DISK_MB - free_mb} MB there, or choose another --state"
    return Finding("disk", is_ok, f"{free_mb} MB free at {existing}", mend)


def check_model_store(config: ModelStoreConfig, name: str) -> Finding:
    """Check that the model store can be reached, where it is not the state directory."""
    if not config.uri:
        return Finding("models", True, "kept in the state directory")
    try:
        store = open_versions(config.uri, name, config)
        count = len(store.versions())
    except ConfigError as error:
        return Finding("models", False, str(error), "mend the section model_store of headrace.yaml")
    except (StoreError, OSError) as error:
        mend = "start the store, or mend model_store in headrace.yaml and the variables that it names"
        return Finding("models", False, str(error), mend)
    return Finding("models", True, f"{count} snapshots in {store.uri}")


def check_ports(ports: PortsConfig) -> list[Finding]:
    """Check the ports of `--ports default`; one finding for each that is taken."""
    taken = [(name, port) for name, port in ports.model_dump().items() if not is_free(port)]
    if not taken:
        return [Finding("ports", True, f"{len(PortsConfig.model_fields)} free")]
    mend = "stop it, set stack.ports.{} in headrace.yaml, or use --ports auto"
    return [
        Finding("ports", False, f"{port} ({name}) is taken by {holder_of(port)}", mend.format(name))
        for name, port in taken
    ]


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def print_findings(findings: list[Finding]) -> None:
    """Print one line for each finding, and the mend below what is wrong."""
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark = "[green]ok[/]  " if finding.is_ok else "[red]mend[/]"
        console.print(f"{mark} {finding.name:9} {finding.detail}")
        if finding.mend:
            console.print(f"               → {finding.mend}")
