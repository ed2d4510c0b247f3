"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from features.whole_file import replace_file


def test_a_replaced_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """The folder is made, the new content stands there, and it is the only file."""
    path = tmp_path / "state" / "status.json"
    replace_file(path, b"old")
    replace_file(path, b"new", is_durable=True)
    assert (path.read_bytes(), list(path.parent.iterdir())) == (b"new", [path])


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    """The new content is another file under the same name."""
    path = tmp_path / "status.json"
    replace_file(path, b"old")
    with path.open("rb") as file:
        replace_file(path, b"new")
        assert file.read() == b"old"


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the file nor its folder show that anything was tried."""
    path = tmp_path / "status.json"
    replace_file(path, b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new", is_durable=True)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    """The mode holds from the first byte on, whatever stood there before."""
    path = tmp_path / "keys.json"
    replace_file(path, b"public")
    replace_file(path, b"secret", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
