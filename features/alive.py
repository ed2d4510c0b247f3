"""Whether a part still tells of itself, for health checks of containers: `python -m features.alive STATE/trainer.json`.

Parts write their status every second or so. Standard library only: it is started every few seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

_LIMIT_S = 30.0


def silent_s(path: Path, now_s: float) -> float:
    """Return the seconds since a status file says that it was written; infinity where it does not."""
    try:
        return now_s - float(json.loads(path.read_text(encoding="utf-8"))["time_ms"]) / 1000.0
    except (OSError, ValueError, KeyError, TypeError):
        return float("inf")


def main(arguments: list[str] | None = None) -> int:
    """Look once. Exit codes: 0 it lives, 1 it has been silent for too long."""
    parser = argparse.ArgumentParser(prog="python -m features.alive", description="Does a part still tell of itself?")
    parser.add_argument("status", type=Path, help="its status file, such as STATE/trainer.json")
    parser.add_argument("--limit-s", type=float, default=_LIMIT_S, help="longest silence, 30 by default")
    options = parser.parse_args(arguments)
    silence_s = silent_s(options.status, time.time())
    if silence_s <= options.limit_s:
        return 0
    print(f"{options.status} has not been written for {silence_s:.0f} s (limit {options.limit_s:g} s)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
