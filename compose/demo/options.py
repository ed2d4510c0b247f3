"""What the command line asks of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROBE_SURFACE = "probe"
"""Answers here are looked at by nobody: `learn: false` keeps them out of the samples."""
VISITOR_SURFACE = "default"
"""Answers here are browsed by the simulated visitors."""
LIST_SIZE = 10
"""Items asked for in every list; HR@10 looks at all of them."""
LATE_FROM = 0.2
"""`late` figures leave out the first 20 % of the events; freezing happens there too."""


@dataclass(frozen=True)
class DemoOptions:
    """Options of `headrace demo`."""

    config_path: Path
    """The app's `headrace.yaml`."""
    state_dir: Path
    """Where the stack keeps its state and logs."""
    events: int = 15_000
    """Events to replay; fewer where the data set ends before."""
    speed: float = 1.0
    """How much faster than one action per user and second."""
    data: Path | None = None
    """Events file (parquet, JSON lines or CSV); None is ML-100k."""
    json_path: Path | None = None
    """Where the summary is written as JSON."""
    keep: bool = False
    """Leave the stack running at the end."""
    compare: bool = False
    """Run a frozen server beside the live one and print four lines with intervals."""
    freeze_model: bool = False
    """Stop the server from following versions after the first 20 % of the events."""
    endpoints_path: Path | None = None
    """Use this running stack instead of starting one."""
    quiet: bool = False
    """Print the summary only."""
    visitors_per_s: float = 10.0
    """Lists that simulated visitors ask for per second (times `speed`); 0 switches them off."""
    seed: int = 7
    """Seeds pacing, visitors and the bootstrap."""
