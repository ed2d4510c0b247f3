"""One process of the stack, as plain data: what to run, what it waits for, how it says that it is ready."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compose.config import StackConfig
from compose.ports import HOST, free_ports
from features.config import AppConfig, ClientTls, Endpoints
from features.metrics_config import PARTS
from streams.job_start import ChangedJobs

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass
class StackLayout:
    """Where a stack keeps its files and which ports it uses."""

    config_path: Path
    state_dir: Path
    ports: dict[str, int]
    app: AppConfig
    stack: StackConfig
    serving_tls: ClientTls | None = None
    """How the server is reached; None: plain text."""
    changed_jobs: ChangedJobs = "replay"
    """What becomes of a Flink job whose newest checkpoint is of another configuration (`streams/job_start.py`)."""

    model_store: str = ""
    """Address of the model store; empty: in the state directory."""

    @property
    def endpoints_path(self) -> Path:
        """File with the addresses, which every part gets by `--endpoints`."""
        return self.state_dir / "endpoints.json"

    @property
    def log_dir(self) -> Path:
        """One file per part."""
        return self.state_dir / "logs"

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of this stack."""
        return Endpoints(
            kafka=self.address("kafka"),
            redis=self.address("redis"),
            flink=self.address("flink_rest"),
            serving=self.address("serving"),
            admin=self.address("admin"),
            dashboard=self.address("dashboard"),
            tls=self.serving_tls,
            metrics={part: self.address(f"metrics_{part}") for part in PARTS},
            model_store=self.model_store or str(self.state_dir / "models"),
            state=str(self.state_dir),
        )

    def port(self, name: str) -> int:
        """Return the port called `name`, a free one where it has none yet."""
        if name not in self.ports:
            self.ports[name] = free_ports(1, self.ports.values())[0]
        return self.ports[name]

    def address(self, name: str) -> str:
        """Return `host:port` of the port called `name`."""
        return f"{HOST}:{self.port(name)}"

    def log_path(self, part: str) -> Path:
        """Return the log file of one part."""
        return self.log_dir / f"{part}.log"


Probe = Callable[["StackLayout", "LogTail"], bool]
"""Says whether a started part can do its work; called a few times a second, must answer within a second."""


CommandBuilder = Callable[["StackLayout"], Sequence[str]]
"""Builds a part's command, and writes the files that it needs."""


@dataclass(frozen=True)
class Part:
    """One process."""

    name: str
    command: CommandBuilder
    """What to run; asked again at each restart."""
    probe: Probe | None = None
    """None: a step, which is done when it exits with 0."""
    needs: tuple[str, ...] = ()
    """Parts that must be ready (steps: done) before this one is started."""
    environment: Callable[[Path], Mapping[str, str]] = lambda _state_dir: {}
    """Added to what every part inherits."""
    repeat_after: str | None = None
    """A step is done again each time this part came back from death."""
    repeat_command: CommandBuilder | None = None
    """What to run once the part has been up; the same as at first where it is not said."""

    @property
    def kind(self) -> Literal["server", "step"]:
        """A server runs on; a step exits when its work is done."""
        return "step" if self.probe is None else "server"


class LogTail:
    """What a part wrote to its log since it was last started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def text(self) -> str:
        """Return it, decoded as far as it is UTF-8."""
        try:
            with self.path.open("rb") as log:
                log.seek(self._offset)
                return log.read().decode(errors="replace")
        except OSError:
            return ""

    def last_line(self) -> str:
        """Return the last line that says something, for a message."""
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        return lines[-1] if lines else "it logged nothing"


def said_ready(_layout: StackLayout, log: LogTail) -> bool:
    """Probe of our own parts: they print `READY <part>` when they can do their work."""
    return any(line.startswith("READY ") for line in log.text().splitlines())


def python_module(module: str, *arguments: str, endpoints: Path | None = None) -> CommandBuilder:
    """Return the command builder of one of our own parts; `endpoints` names another file than the stack's."""

    def command(layout: StackLayout) -> Sequence[str]:
        return [
            sys.executable,
            "-m",
            module,
            "--config",
            str(layout.config_path),
            "--endpoints",
            str(endpoints or layout.endpoints_path),
            *arguments,
        ]

    return command


def base_environment() -> dict[str, str]:
    """Return what every part inherits: our packages on the path, one thread per math library, unbuffered output."""
    path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
