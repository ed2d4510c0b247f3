"""The progress of a file is found again by its content, is written whole, and belongs to one run at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compose.backfill_progress import BackfillProgress, BackfillProgressError, ProgressFile, backfill_key
from tests.compose.events_files import ROWS, native_options, write_jsonl


@pytest.fixture
def events_file(tmp_path: Path) -> Path:
    """A small file."""
    return write_jsonl(tmp_path / "e.jsonl", ROWS)


def test_the_key_is_that_of_the_content(events_file: Path) -> None:
    """Another name is the same file; another row, salt or mapping is not."""
    options = native_options()
    key = backfill_key(events_file, options)
    moved = events_file.rename(events_file.with_name("moved.jsonl"))
    assert backfill_key(moved, options) == key
    other_mapping = options.mapping.model_copy(update={"explode": "items"})
    others = [native_options(salt="x"), replace(options, mapping=other_mapping)]
    assert key not in {backfill_key(moved, other) for other in others}
    write_jsonl(moved, [*ROWS, ROWS[0]])
    assert backfill_key(moved, options) != key


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """By the next run, which needs the lock of the first to be gone."""
    first = ProgressFile(tmp_path / "backfill", "k", tmp_path / "e.jsonl")
    assert first.load() == BackfillProgress()
    saved = first.save(BackfillProgress(5, 7))
    with pytest.raises(BackfillProgressError, match="another backfill of"):
        ProgressFile(tmp_path / "backfill", "k", tmp_path / "e.jsonl")
    first.close()
    second = ProgressFile(tmp_path / "backfill", "k", tmp_path / "e.jsonl")
    assert second.load() == saved
    assert (saved.acknowledged_rows, saved.acknowledged_events, saved.is_finished) == (5, 7, False)
    second.close()


def test_a_write_that_was_cut_short_changes_nothing(tmp_path: Path) -> None:
    """Only the rename makes it valid."""
    progress = ProgressFile(tmp_path, "k", tmp_path / "e.jsonl")
    saved = progress.save(BackfillProgress(5, 7))
    (tmp_path / "k.tmp").write_bytes(b'{"version": 1, "acknow')
    assert progress.load() == saved
    progress.close()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]"])
def test_a_damaged_progress_file_is_said_so(damage: bytes, tmp_path: Path) -> None:
    """With the option that begins anew."""
    (tmp_path / "k.json").write_bytes(damage)
    progress = ProgressFile(tmp_path, "k", tmp_path / "e.jsonl")
    with pytest.raises(BackfillProgressError, match=r"cannot be used.*--again"):
        progress.load()
    progress.close()


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """With the option that names another."""
    (tmp_path / "file").touch()
    with pytest.raises(BackfillProgressError, match="name another --state"):
        ProgressFile(tmp_path / "file" / "backfill", "k", tmp_path / "e.jsonl")
