"""`make setup`: bring tools, Python environment and jars into the checkout. Needs nothing but a Python 3.8.

`--quiet` says only what it has to install; the other verbs of the Makefile begin with it.

Each step leaves a mark only when it is complete. A mark that is missing or stale, or a tool that does not run, makes
the step start again: an interrupted download is mended by the next run, a complete one costs a second.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

UV_VERSION = "0.13.9"
ROOT = Path(__file__).resolve().parent.parent
TOOLS, ENVIRONMENT = ROOT / ".tools", ROOT / ".venv"
UV = TOOLS / "bin" / "uv"
_STAMP = ENVIRONMENT / ".complete"
_COMPILED = ENVIRONMENT / ".compiled"
_UNFINISHED = TOOLS / "sync-unfinished"
_INPUTS = ("uv.lock", "pyproject.toml", "compose/client/pyproject.toml")


class SetupError(Exception):
    """Expected: a step cannot be done; the message says why and what helps."""


def main() -> int:
    """Run all steps."""
    started_s = time.monotonic()
    quiet = ["--quiet"] if "--quiet" in sys.argv[1:] else []
    try:
        environment = child_environment()
        install_uv(environment)
        sync_environment(environment)
        for step in ("compose.jars", "compose.functions_jar"):
            run([str(ENVIRONMENT / "bin" / "python"), "-m", step, *quiet], environment)
        compile_loops(environment)
    except SetupError as error:
        print(f"headrace setup: {error}", file=sys.stderr)
        return 6
    except KeyboardInterrupt:
        print("headrace setup: interrupted; run it again, it goes on from here", file=sys.stderr)
        return 130
    if not quiet:
        print(f"setup: complete after {time.monotonic() - started_s:.1f} s")
    return 0


def install_uv(environment: dict[str, str]) -> None:
    """Install the pinned uv into `.tools`.

    Raises:
        SetupError: pip cannot.
    """
    if _output([str(UV), "--version"]).split()[1:2] == [UV_VERSION]:
        return
    print(f"setup: uv {UV_VERSION} into .tools", flush=True)
    was_unfinished = _UNFINISHED.exists()
    shutil.rmtree(TOOLS, ignore_errors=True)
    package = f"uv=={UV_VERSION}"
    if _succeeds([sys.executable, "-m", "venv", str(TOOLS)]):
        command = [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
    else:  # Debian ships Python without `ensurepip`; pip itself may still be there.
        shutil.rmtree(TOOLS, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(TOOLS), package]
    run(command, environment, hint="Python's venv or pip is needed: install python3-venv, then run `make setup` again")
    if was_unfinished:
        _UNFINISHED.touch()


def sync_environment(environment: dict[str, str]) -> None:
    """Build `.venv` from `uv.lock`, unless it is already what the lock says.

    Raises:
        SetupError: uv cannot.
    """
    wanted = digest_of(ROOT / name for name in _INPUTS)
    runs = _succeeds([str(ENVIRONMENT / "bin" / "python"), "-c", "import pydantic, yaml, typer"])
    if runs and _STAMP.exists() and _STAMP.read_text(encoding="utf-8") == wanted:
        return
    print("setup: Python environment into .venv (about 3 GB to download the first time)", flush=True)
    if ENVIRONMENT.exists() and (not runs or _UNFINISHED.exists()):
        # An installation that was cut off can leave a package with its records and half of its files. From uv's cache
        # all is back in half a minute; `--reinstall` would ask the registry for everything again.
        shutil.rmtree(ENVIRONMENT)
    _UNFINISHED.touch()
    _STAMP.unlink(missing_ok=True)
    command = [str(UV), "sync", "--frozen", "--quiet"]
    run(command, environment, hint="check the network and the disk (8 GB), then run `make setup` again")
    _STAMP.write_text(wanted, encoding="utf-8")
    _UNFINISHED.unlink()


def compile_loops(environment: dict[str, str]) -> None:
    """Fill the cache of compiled functions, unless it was for the sources as they are: 30 s that no user waits for.

    Raises:
        SetupError: they do not compile.
    """
    sources = (file for package in ("features", "trainer") for file in sorted((ROOT / package).glob("*.py")))
    wanted = digest_of(file for file in sources if b"compiled" in file.read_bytes())
    if _COMPILED.exists() and _COMPILED.read_text(encoding="utf-8") == wanted:
        return
    print("setup: compiled functions of features/ and trainer/", flush=True)
    run([str(ENVIRONMENT / "bin" / "python"), "-m", "trainer.warm_up"], environment)
    _COMPILED.write_text(wanted, encoding="utf-8")


def digest_of(files: Iterable[Path]) -> str:
    """Return a digest over the contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def child_environment() -> dict[str, str]:
    """Return the environment of the tools: patient, in this checkout, trusting the certificates that pip trusts."""
    environment = {**os.environ, "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "600")}
    environment["UV_PROJECT_ENVIRONMENT"] = str(ENVIRONMENT)
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    # Once, here: else every start of a part compiles what it imports where the environment cannot be written.
    environment["UV_COMPILE_BYTECODE"] = "1"
    for inherited in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        environment.pop(inherited, None)
    certificates = os.environ.get("PIP_CERT") or _output([sys.executable, "-m", "pip", "config", "get", "global.cert"])
    if certificates.strip() and Path(certificates.strip()).is_file():
        environment.setdefault("SSL_CERT_FILE", certificates.strip())
        environment.setdefault("REQUESTS_CA_BUNDLE", certificates.strip())
    return environment


def run(command: list[str], environment: dict[str, str], hint: str = "") -> None:
    """Run one tool in the checkout.

    Raises:
        SetupError: it fails.
    """
    try:
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    except OSError as error:
        raise SetupError(f"cannot run {command[0]}: {error.strerror}; {hint}") from error
    if code != 0:
        raise SetupError(f"`{' '.join(command[:4])} …` failed with exit code {code}{'; ' if hint else ''}{hint}")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0
    except OSError:
        return False


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
