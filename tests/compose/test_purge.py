"""`headrace purge` and `headrace forget`, as far as they need no stack: windows, stale rows, letters, audit lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from compose.data_orders import AUDIT_FILE, wait_for_purge, write_audit
from compose.errors import StackError
from compose.forget import oldest_segment_ms
from compose.forget_letters import is_of_user
from compose.purge import PurgeUsageError, checked_window, remove_consumed
from compose.stale_rows import stale_keys
from compose.window_events import WindowEvents
from features.consumed_items import consumed_key

_NOW_MS = 1_700_000_000_000
_DAY_MS = 86_400_000


class Record(NamedTuple):
    """As much of a Kafka record as is looked at."""

    key: bytes | None
    value: bytes | None
    timestamp: int


class MemorySets:
    """Sorted sets in memory, as `redis.Redis` has them."""

    def __init__(self, sets: dict[str, dict[str, float]]) -> None:
        self.sets = sets

    def zscore(self, name: str, value: str) -> Any:
        """Return a member's score."""
        return self.sets.get(name, {}).get(value)

    def zrem(self, name: str, *values: str) -> Any:
        """Remove members."""
        return sum(self.sets[name].pop(value, None) is not None for value in values)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "bound"),
    [
        (5, 5, "before"),
        (0, 5, "before"),
        (_NOW_MS - 1000, _NOW_MS + 1, "ahead"),
        (_NOW_MS - 8 * _DAY_MS, _NOW_MS, "keep 7"),
    ],
)
def test_window_that_cannot_be_purged_is_refused(start_ms: int, end_ms: int, bound: str) -> None:
    """Empty, not over, or longer than what topics keep: one sentence and exit code 2."""
    with pytest.raises(PurgeUsageError, match=bound) as caught:
        checked_window(start_ms, end_ms, _NOW_MS)
    assert caught.value.exit_code == 2


def test_only_rows_from_before_the_rebuild_are_stale() -> None:
    """Rewritten rows, deleted ones and those of entities outside the window stay."""
    records = [
        Record(b"old", b"row", 10),
        Record(b"new", b"row", 10),
        Record(b"new", b"row", 21),
        Record(b"gone", b"row", 10),
        Record(b"gone", None, 11),
        Record(b"other", b"row", 10),
        Record(None, b"row", 10),
    ]
    assert stale_keys(records, {b"old", b"new", b"gone", b"never"}, 20) == [b"old"]


def test_consumed_items_go_where_their_newest_event_is_in_the_window() -> None:
    """An item with a later event outside of it stays."""
    key = consumed_key("shop", "ada")
    store = MemorySets({key: {"tea": 100.0, "cake": 300.0, "jam": 50.0}})
    events = WindowEvents(3, {"ada": {"tea": {90, 100}, "cake": {100}}, "bea": {"tea": {100}}})
    assert remove_consumed(store, "shop", events) == 1
    assert store.sets[key] == {"cake": 300.0, "jam": 50.0}


@pytest.mark.parametrize(
    ("raw", "is_theirs"),
    [
        (b'{"user_id": "ada", "item_id": "x"}', True),
        (b'{"user_id": "adam", "item_id": "ada"}', False),
        (b'{"user_id": "ada", "item_id": ', True),
        (b'{"user_id": "adam", "item_id": ', False),
        (b"\xff\xfe garbage", False),
    ],
)
def test_letters_are_known_by_their_user(raw: bytes, is_theirs: bool) -> None:
    """By the field where the record can be read; by the quoted id where it cannot; a longer id is another one."""
    assert is_of_user(raw, "ada") == is_theirs


def test_audit_says_who_and_when_and_is_private(tmp_path: Path) -> None:
    """One line an order, mode 0600, and never the id of a forgotten user."""
    write_audit(tmp_path / "state", "forget", user_sha256="ab", reason="asked\nfor")
    write_audit(tmp_path / "state", "purge", window_start_ms=1)
    path = tmp_path / "state" / AUDIT_FILE
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["command"], first["user_sha256"], first["reason"]) == ("forget", "ab", "asked\nfor")
    assert {"time_ms", "by"} <= set(second)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_line_no_deed(tmp_path: Path) -> None:
    """Where the audit line cannot be written, nothing is ordered."""
    (tmp_path / AUDIT_FILE).mkdir()
    with pytest.raises(StackError, match="nothing was done"):
        write_audit(tmp_path, "purge")


def test_trainer_that_cannot_go_back_is_told(tmp_path: Path) -> None:
    """The command ends with the trainer's own words."""
    quarantine = {"windows": [[1, 2]], "waiting": [[1, 2]]}
    (tmp_path / "trainer.json").write_text(json.dumps({"quarantine": quarantine, "purge_error": "no checkpoint"}))
    with pytest.raises(StackError, match="no checkpoint"):
        wait_for_purge(tmp_path, (1, 2), 5.0)
    (tmp_path / "trainer.json").write_text(json.dumps({"quarantine": quarantine | {"waiting": [], "passed_over": 7}}))
    assert wait_for_purge(tmp_path, (1, 2), 5.0)["passed_over"] == 7


def test_journal_tells_since_when_rows_wait(tmp_path: Path) -> None:
    """The oldest segment's name; infinity where everything is in files."""
    assert oldest_segment_ms(tmp_path) == float("inf")
    (tmp_path / "_journal").mkdir()
    for name in ("0000000002-000000000000200.journal", "0000000001-000000000000300.journal"):
        (tmp_path / "_journal" / name).touch()
    assert oldest_segment_ms(tmp_path) == 200
