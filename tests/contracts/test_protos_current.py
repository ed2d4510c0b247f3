"""The checked-in stubs are what the protos generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_stubs_are_current(tmp_path: Path) -> None:
    """`make protos` would change nothing."""
    protos = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "protos").glob("*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *protos], cwd=ROOT, check=True)
    stubs = sorted((ROOT / "protos").glob("*_pb2*"))
    assert stubs
    for stub in stubs:
        assert (tmp_path / "protos" / stub.name).read_text() == stub.read_text(), f"{stub.name}: run `make protos`"


@pytest.mark.parametrize("path", sorted((ROOT / "protos").glob("*.proto")), ids=lambda path: path.name)
def test_every_proto_has_its_stub(path: Path) -> None:
    """A new proto file cannot be forgotten."""
    assert (path.parent / f"{path.stem}_pb2.py").exists()
