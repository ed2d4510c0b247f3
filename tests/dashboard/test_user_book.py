"""A user's row as people read it, and what changed while they looked."""

from __future__ import annotations

from compose.dashboard.user_book import UserBook, span
from features.config import load_app_config
from tests.dashboard.staged_board import NOW_MS, StagedRows
from tests.running_stack import ROOT


def book_of(rows: StagedRows) -> UserBook:
    """A book over a fake store; titles shout."""
    return UserBook(rows, load_app_config(ROOT / "headrace.yaml"), str.upper)


async def test_an_event_is_a_change_since_the_last_look() -> None:
    """The first look is no change, and a quiet one neither."""
    rows = StagedRows()
    book = book_of(rows)
    looks = [await book.look("ada", NOW_MS), await book.look("ada", NOW_MS + 1)]
    rows.history.insert(0, "item-9")
    changes = (await book.look("ada", NOW_MS + 2))["changes"]
    assert [len(one["changes"]) for one in looks] == [0, 0] or len(changes) == 1
    assert changes[0]["items"] == [{"item_id": "item-9", "title": "ITEM-9"}]


async def test_a_stranger_is_known_to_be_one() -> None:
    """Nothing is made up of him."""
    told = await book_of(StagedRows()).look("stranger-1", NOW_MS)
    assert (told["is_known"], told["history"], set(told["counts"].values())) == (False, [], {0.0})


def test_half_lives_are_written_as_people_say_them() -> None:
    """No seconds where minutes, hours or days do."""
    assert [span(seconds) for seconds in (30, 600, 3600, 86_400, 5_184_000)] == ["30 s", "10 min", "1 h", "1 d", "60 d"]
