"""What people do is counted by minute, item and category."""

from __future__ import annotations

import json

from compose.dashboard.insights import BUCKET_MS, BUCKETS, Insights

NOW_MS = 100 * BUCKET_MS


def tell(insights: Insights, minutes_ago: int, item_id: str, count: int = 1, user_id: str = "ada") -> None:
    """Count events of one minute."""
    value = json.dumps({"user_id": user_id, "item_id": item_id, "action": "view"}).encode()
    for _ in range(count):
        insights.on_event(NOW_MS - minutes_ago * BUCKET_MS, value)


def test_actions_are_counted_by_minute_and_old_ones_forgotten() -> None:
    """The last bar is the running minute."""
    insights = Insights()
    for minute in range(60, -1, -1):
        tell(insights, minute, "tea", count=2)
    view = insights.view(NOW_MS)
    assert view["actions"] == {"view": [2] * BUCKETS}
    assert view["minutes_ms"][-1] == NOW_MS


def test_an_item_that_is_chosen_more_than_before_moves_to_the_top() -> None:
    """The mover is named with both rates."""
    insights = Insights()
    for minute in range(20, 4, -1):
        tell(insights, minute, "old", count=3)
    tell(insights, 1, "new", count=10)
    top = insights.view(NOW_MS)["movers"][0]
    assert (top["item_id"], top["now"], top["before"]) == ("new", 2.0, 0.0)


def test_nothing_moves_before_there_is_a_before() -> None:
    """Five minutes alone compare with nothing."""
    insights = Insights()
    tell(insights, 1, "new")
    assert insights.view(NOW_MS)["movers"] == []


def test_an_event_counts_in_parts_where_its_item_has_several_categories() -> None:
    """Shares add up to one."""
    insights = Insights()
    insights.on_item(b"tea", json.dumps({"item_id": "tea", "categories": ["drinks", "gifts"]}).encode())
    tell(insights, 0, "tea", count=2)
    tell(insights, 0, "bare", count=2)
    shares = {one["name"]: one["share"] for one in insights.view(NOW_MS)["categories"]}
    assert shares == {"(no category)": 0.5, "drinks": 0.25, "gifts": 0.25}


def test_what_is_no_event_is_counted_and_passed_over() -> None:
    """Bytes of a broken producer end no page."""
    insights = Insights()
    insights.on_event(NOW_MS, b"\xff{")
    insights.on_event(NOW_MS, None)
    assert (insights.bad_records, insights.view(NOW_MS)["actions"]) == (2, {})


def test_a_deleted_item_has_no_title() -> None:
    """A null value deletes."""
    insights = Insights()
    insights.on_item(b"tea", json.dumps({"item_id": "tea", "title": "Green tea"}).encode())
    assert insights.title_of("tea") == "Green tea"
    insights.on_item(b"tea", None)
    assert insights.title_of("tea") == ""


def test_the_newest_users_come_first() -> None:
    """Each once."""
    insights = Insights()
    for user in ("ada", "bob", "ada"):
        tell(insights, 0, "tea", user_id=user)
    assert insights.newest_users(5) == ["ada", "bob"]
