"""Compiled code is that of the files as they are."""

from __future__ import annotations

from pathlib import Path

import numba

import features
from features.compiled import cache_folder, drop_old_caches


def test_the_cache_is_named_after_every_file_of_the_package() -> None:
    """Numba itself would go on with the old code of a function in another file."""
    assert str(cache_folder(Path(features.__file__).parent)) == numba.config.CACHE_DIR


def test_a_changed_file_makes_another_cache_and_drops_the_old_one(tmp_path: Path) -> None:
    """Whichever of them it is."""
    (tmp_path / "caller.py").write_text("import features.compiled")
    (tmp_path / "callee.py").write_text("import features.compiled  # 1")
    first = cache_folder(tmp_path)
    first.mkdir(parents=True)
    (tmp_path / "callee.py").write_text("import features.compiled  # 2")
    (tmp_path / "other.py").write_text("compiles nothing")
    second = cache_folder(tmp_path)
    second.mkdir()
    drop_old_caches(tmp_path)
    assert (first.exists(), second.exists(), first == second) == (False, True, False)
