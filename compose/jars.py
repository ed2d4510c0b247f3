"""Install the jars that `jgo.lock.toml` names below `.jars`: `python -m compose.jars`.

jgo resolves `jgo.toml` and downloads into `.jars/repository`; a jar counts only when its SHA-256 is the locked one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.errors import NotInstalledError
from compose.part import PROJECT_ROOT

_TRIES = 3
_HTTP_TIMEOUT_S = 120


@dataclass(frozen=True)
class LockedJar:
    """One entry of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file, as Maven repositories have it."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def repository_path(self) -> Path:
        """Path below a Maven repository."""
        return Path(*self.group.split("."), self.artifact, self.version, self.file_name)

    @property
    def folder(self) -> str:
        """Which class path it belongs to: the connector goes to Flink, the compiler is a tool, all else is Kafka's."""
        return {"org.apache.flink": "flink", "org.eclipse.jdt": "tools"}.get(self.group, "kafka")


def read_lock(path: Path) -> list[LockedJar]:
    """Read `jgo.lock.toml`.

    Raises:
        NotInstalledError: it is missing or damaged.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["dependencies"]
        return [LockedJar(e["groupId"], e["artifactId"], e["version"], e["sha256"]) for e in entries]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise NotInstalledError(f"{path} cannot be read ({error}); take it from the repository again") from error


def is_intact(path: Path, sha256: str) -> bool:
    """Say whether the file is there with the right content."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def damaged_jars(root: Path) -> list[LockedJar]:
    """List the locked jars that are missing below `root/.jars` or differ from the lock."""
    jars = read_lock(root / "jgo.lock.toml")
    return [jar for jar in jars if not is_intact(root / ".jars" / jar.folder / jar.file_name, jar.sha256)]


def class_path(folder: str, root: Path = PROJECT_ROOT) -> list[Path]:
    """Return the installed jars of one folder.

    Raises:
        NotInstalledError: one that the lock names is missing.
    """
    paths = [root / ".jars" / jar.folder / jar.file_name for jar in read_lock(root / "jgo.lock.toml")]
    paths = [path for path in paths if path.parent.name == folder]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise NotInstalledError(f"{len(missing)} jars are missing ({missing[0]}, …); run `make setup`")
    return paths


def install_jars(root: Path) -> int:
    """Bring `.jars` to what the lock says; return how many jars were new or mended.

    Raises:
        NotInstalledError: a jar could not be fetched, or what was fetched is not what the lock names.
    """
    wanted = damaged_jars(root)
    repository = root / ".jars" / "repository"
    for _ in range(_TRIES):
        for jar in wanted:  # A half-downloaded file would be taken for a good one by jgo.
            if not is_intact(repository / jar.repository_path, jar.sha256):
                (repository / jar.repository_path).unlink(missing_ok=True)
        absent = [jar for jar in wanted if not (repository / jar.repository_path).exists()]
        if not absent:
            break
        _run_jgo(root, repository)
    for jar in wanted:
        _place(repository / jar.repository_path, root / ".jars" / jar.folder / jar.file_name, jar.sha256)
    _remove_strangers(root)
    return len(wanted)


def _run_jgo(root: Path, repository: Path) -> None:
    """Let jgo resolve a copy of `jgo.toml`: it downloads into `repository` and may not rewrite our lock file."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "jgo.toml", folder)
        command = [sys.executable, "-m", "jgo", "--resolver", "python", "--ignore-config", "--quiet"]
        command += ["--repo-cache", str(repository), "--timeout", str(_HTTP_TIMEOUT_S), "--no-cache", "lock"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise NotInstalledError(f"jgo could not fetch the jars ({reason}); check the network, then `make setup`")


def _place(source: Path, target: Path, sha256: str) -> None:
    if not is_intact(source, sha256):
        raise NotInstalledError(
            f"{source.name} is not what jgo.lock.toml names, after {_TRIES} downloads; try `make setup` again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)


def _remove_strangers(root: Path) -> None:
    """Remove jars that the lock does not name: an older version beside the new one would be loaded too."""
    known = {root / ".jars" / jar.folder / jar.file_name for jar in read_lock(root / "jgo.lock.toml")}
    for folder in ("kafka", "flink", "tools"):
        for path in (root / ".jars" / folder).glob("*"):
            if path not in known:
                path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the jars and say what was done."""
    try:
        mended = install_jars(PROJECT_ROOT)
    except NotInstalledError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return error.exit_code
    if mended or "--quiet" not in (sys.argv[1:] if arguments is None else arguments):
        print(f"jars: {mended} installed, all verified against jgo.lock.toml")
    return 0


if __name__ == "__main__":
    sys.exit(main())
