"""Compile the Java functions of the streams into `.jars/functions`: `python -m compose.functions_jar`.

The compiler is Eclipse's, a jar from the lock file that runs on any JRE, so no JDK is needed. The jar holds a digest of
the sources and of the Flink it was compiled against; it is built again only when one of them changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from compose.errors import NotInstalledError
from compose.flink_cluster import flink_home
from compose.jars import class_path
from compose.java_runtime import java_home
from compose.part import PROJECT_ROOT
from streams.java_functions import JAR_NAME, SOURCES

_DIGEST_ENTRY = "META-INF/headrace-sources.sha256"
_JAVA_VERSION = "17"
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""Equal sources make equal bytes."""


def functions_jar(root: Path = PROJECT_ROOT) -> Path:
    """Return where the jar is."""
    return root / ".jars" / "functions" / JAR_NAME


def sources_digest(sources: Path = SOURCES, root: Path = PROJECT_ROOT) -> str:
    """Return a digest of all sources and of the names of Flink's jars and its connectors'."""
    digest = hashlib.sha256()
    for path in [*sorted(sources.glob("*.java")), *_services(sources)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in _flink_jars(root):
        digest.update(path.name.encode() + b"\0")
    return digest.hexdigest()


def is_current(jar: Path, digest: str) -> bool:
    """Say whether the jar is whole and was made of what `digest` names."""
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip() is None and archive.read(_DIGEST_ENTRY).decode() == digest
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error):
        return False


def build_functions(root: Path = PROJECT_ROOT, sources: Path = SOURCES) -> bool:
    """Compile the functions unless the jar is current; say whether it was built.

    Args:
        root: the checkout with the compiler in its `.jars`.
        sources: folder of the Java files.

    Raises:
        NotInstalledError: the compiler or Java is missing, or the sources do not compile.
    """
    digest, jar = sources_digest(sources, root), functions_jar(root)
    if is_current(jar, digest):
        return False
    with tempfile.TemporaryDirectory() as folder:
        _compile(sources, Path(folder), root)
        _pack(Path(folder), sources, jar, digest)
    return True


def _compile(sources: Path, target: Path, root: Path) -> None:
    compiler = class_path("tools", root)
    jars = os.pathsep.join(str(jar) for jar in _flink_jars(root))
    # `--release` would look for a JDK's list of its own past; source and target do without.
    options = [f"-{_JAVA_VERSION}", "-classpath", jars, "-d", str(target), "-encoding", "UTF-8", "-warn:none"]
    command = [str(java_home() / "bin" / "java"), "-jar", str(compiler[0]), *options]
    done = subprocess.run(
        [*command, *(str(path) for path in sorted(sources.glob("*.java")))], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotInstalledError(f"streams/java does not compile:\n{(done.stderr or done.stdout).strip()}")


def _pack(folder: Path, sources: Path, jar: Path, digest: str) -> None:
    jar.parent.mkdir(parents=True, exist_ok=True)
    part = jar.with_suffix(f".{os.getpid()}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.class")):
            _add(archive, path.relative_to(folder).as_posix(), path.read_bytes())
        for path in _services(sources):
            _add(archive, path.relative_to(sources).as_posix(), path.read_bytes())
        _add(archive, _DIGEST_ENTRY, digest.encode())
    part.replace(jar)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content, zipfile.ZIP_DEFLATED)


def _services(sources: Path) -> list[Path]:
    """Return the files by which Flink finds formats and connectors in a jar."""
    return sorted((sources / "META-INF" / "services").glob("*"))


def _flink_jars(root: Path) -> list[Path]:
    return [*sorted((flink_home() / "lib").glob("*.jar")), *sorted((root / ".jars" / "flink").glob("*.jar"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the jar and say what was done."""
    try:
        was_built = build_functions()
    except NotInstalledError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return error.exit_code
    if was_built or "--quiet" not in (sys.argv[1:] if arguments is None else arguments):
        print(f"functions: {'compiled' if was_built else 'current'}, {JAR_NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
