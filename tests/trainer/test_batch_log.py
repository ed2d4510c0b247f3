"""The batch log: what was synced comes back, torn ends are cut, flipped bits are noticed and never followed."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.batch_log import BatchLog, read_log
from trainer.batch_records import BatchEntry, CutEntry, Entry, Run


def entry(number: int) -> Entry:
    """An entry that tells its number."""
    if number % 5 == 4:
        return CutEntry(version=f"1.{number}", parent_version="", time_ms=number)
    return BatchEntry([Run("headrace.samples.v1:0", number, number + 1, 1, 7 * number)], clock_ms=number)


def written(directory: Path, size: int, start: int = 0) -> BatchLog:
    """A log of `size` further entries."""
    log = BatchLog(directory, start)
    for number in range(log.position, log.position + size):
        log.append(entry(number))
    log.sync()
    return log


def only_segment(directory: Path) -> Path:
    """The one file of a log."""
    (path,) = directory.glob("*.log")
    return path


def test_entries_come_back_in_order_over_starts_and_segments(tmp_path: Path) -> None:
    """Three starts, a segment in between: one sequence."""
    for _ in range(3):
        log = written(tmp_path, 4)
        log.begin_segment()
        log.append(entry(log.position))
        log.close()
    assert read_log(tmp_path, 0).entries == [entry(number) for number in range(15)]
    assert BatchLog(tmp_path, 7).entries == [entry(number) for number in range(7, 15)]


@pytest.mark.parametrize("cut", [1, 2, 9, 20, 40])
def test_torn_last_line_is_cut_and_the_log_goes_on(tmp_path: Path, cut: int) -> None:
    """A last line that lacks its end was never synced: it is no damage."""
    written(tmp_path, 6).close()
    path = only_segment(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    log = BatchLog(tmp_path)
    assert (len(log.entries), log.damage, log.torn_bytes > 0) == (5, "", True)
    log.append(entry(5))
    log.close()
    assert read_log(tmp_path, 0).entries == [entry(number) for number in range(6)]


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """500 flips, one at a time: never an entry that was not written, never an end that goes unmentioned."""
    expected = [entry(number) for number in range(12)]
    written(tmp_path, 12).close()
    path = only_segment(tmp_path)
    good, random_ = path.read_bytes(), random.Random(1)
    for _ in range(500):
        data = bytearray(good)
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        path.write_bytes(data)
        content = read_log(tmp_path, 0)
        assert content.entries == expected[: len(content.entries)]
        assert content.damage or content.torn_bytes


def test_damage_is_kept_aside_and_not_followed(tmp_path: Path) -> None:
    """Entries behind a flipped one are not learnt: what it was nobody knows."""
    written(tmp_path, 8).close()
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    log = BatchLog(tmp_path)
    assert 0 < len(log.entries) < 8
    assert "cannot be followed" in log.damage
    assert [kept.read_bytes() for kept in tmp_path.glob("*.damaged")] == [bytes(data)]
    log.append(entry(log.position))
    log.close()
    assert not read_log(tmp_path, 0).damage


def test_damage_before_the_checkpoint_costs_nothing(tmp_path: Path) -> None:
    """What no restart needs may be bad."""
    written(tmp_path, 8).close()
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[30] ^= 0xFF
    path.write_bytes(data)
    content = read_log(tmp_path, 5)
    assert (content.entries, content.damage) == ([entry(5), entry(6), entry(7)], "")


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    """A hole in the numbers is not stepped over."""
    for _ in range(3):
        written(tmp_path, 4).close()
    sorted(tmp_path.glob("*.log"))[1].unlink()
    log = BatchLog(tmp_path)
    assert (len(log.entries), log.position) == (4, 4)
    assert "entry 4 is missing" in log.damage


def test_segments_behind_the_oldest_checkpoint_go(tmp_path: Path) -> None:
    """Only whole segments before the position go, and none that is younger than asked."""
    for _ in range(4):
        log = written(tmp_path, 5)
        log.close()
    log = BatchLog(tmp_path, 12)
    log.drop_before(12, keep_s=3600.0)
    assert len(list(tmp_path.glob("*.log"))) == 4
    log.drop_before(12)
    assert read_log(tmp_path, 12).entries == [entry(number) for number in range(12, 20)]
    assert len(list(tmp_path.glob("*.log"))) == 2


def full_after(size: int, real: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    """A disk with room for `size` bytes more."""
    left = size

    def write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(descriptor, bytes(data)[:left])
        left -= done
        return done

    return write


@pytest.mark.parametrize("room", [0, 1, 100, 333])
def test_full_disk_stops_no_append_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Full, nothing is synced and it is said; with room again the lines follow, the torn one included."""
    log = written(tmp_path, 3)
    real = os.write
    monkeypatch.setattr("trainer.batch_log.os.write", full_after(room, real))
    for number in range(3, 9):
        log.append(entry(number))
    with pytest.raises(OSError, match="No space left"):
        log.sync()
    assert "No space left" in log.write_error
    monkeypatch.setattr("trainer.batch_log.os.write", real)
    log.sync()
    assert log.write_error == ""
    assert read_log(tmp_path, 0).entries == [entry(number) for number in range(9)]


def test_failed_fsync_is_not_trusted_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unsynced is written anew to another file, as the kernel may have dropped it from the first."""
    log = written(tmp_path, 3)
    real = os.fsync

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log.append(entry(3))
    monkeypatch.setattr("trainer.batch_log.os.fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        log.sync()
    monkeypatch.setattr("trainer.batch_log.os.fsync", real)
    first = only_segment(tmp_path)
    os.truncate(first, first.stat().st_size - 10)  # What the kernel dropped.
    log.append(entry(4))
    log.sync()
    log.close()
    content = read_log(tmp_path, 0)
    assert (content.entries, content.damage) == ([entry(number) for number in range(5)], "")
