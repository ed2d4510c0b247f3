"""The dashboard of a real stack in a real browser: look at every view, find a bad message, like, roll back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_client import EventProducer
from headrace_client.records import EVENTS_TOPIC
from tests.dashboard.page_checks import DESKTOP, PHONE, VIEWS, chromium, faults_of, open_view, share_of_repeated_rows
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(900)]
WAIT_MS = 120_000
"""Longest wait for what takes a second on a calm machine."""


@pytest.fixture(scope="module")
def page(stack: RunningStack, tastes: list[list[str]]) -> Iterator[Any]:
    """The page of the stack, signed in with the link of `headrace dashboard --sign-in`."""
    token = (Path(stack.endpoints.state) / "admin.token").read_text(encoding="utf-8")
    with chromium() as browser:
        page = browser.new_context(viewport=DESKTOP).new_page()
        page.goto(f"http://{stack.endpoints.dashboard}/#token={token}")
        page.get_by_role("button", name="Sign out").wait_for(timeout=WAIT_MS)
        yield page


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_view_shows_what_the_stack_does(page: Any, size: dict[str, int]) -> None:
    """Nothing overlaps, nothing is blank, nothing is wider than the screen."""
    page.set_viewport_size(size)
    for view in VIEWS:
        open_view(page, view)
        assert faults_of(page) == [], view
        assert share_of_repeated_rows(page) < 0.8, view
    page.set_viewport_size(DESKTOP)


def test_a_like_changes_the_list(page: Any) -> None:
    """The list says what carried each item; after a like other items stand in it."""
    open_view(page, "try")
    page.get_by_label("User id").fill(f"visitor-{uuid.uuid4().hex[:6]}")
    page.get_by_role("button", name="Recommend").click()
    page.get_by_text("scores made again here equal those served").wait_for(timeout=WAIT_MS)
    assert page.get_by_role("group", name="what carried it").count() == page.locator(".item").count() == 10
    page.get_by_role("button", name="Send like").first.click()
    page.get_by_text("The list changed").wait_for(timeout=WAIT_MS)


def test_a_bad_message_is_found_with_its_bytes_and_mend(page: Any, producer: EventProducer) -> None:
    """What a broken producer sent shows as it was sent."""
    raw = f"<b>{uuid.uuid4().hex}</b>"
    producer.send_record(EVENTS_TOPIC, None, raw.encode()).result(30.0)
    open_view(page, "data")
    page.get_by_text(raw, exact=True).wait_for(timeout=WAIT_MS)
    assert "Mend the producer" in page.locator("main").inner_text()


def choose_one_to_go_back_to(page: Any) -> None:
    """Choose the newest version that the server can go back to; which that is depends on how old the stack is."""
    page.locator(".pick").first.wait_for(timeout=WAIT_MS)
    for place in range(page.locator(".pick").count()):
        page.locator(".pick").nth(place).click()
        if page.get_by_role("button", name="Roll back to").count():
            return


def test_a_rollback_asks_and_holds_until_it_is_undone(page: Any) -> None:
    """From the chosen version through the dialog to the server, and back."""
    open_view(page, "versions")
    choose_one_to_go_back_to(page)
    page.get_by_role("button", name="Roll back to").click()
    page.locator("dialog").get_by_role("button", name="Roll back to").click()
    page.get_by_role("button", name="Follow again").wait_for(timeout=WAIT_MS)
    page.get_by_role("cell", name="rollback").first.wait_for(timeout=WAIT_MS)
    page.get_by_role("button", name="Follow again").click()
    page.locator("dialog").get_by_role("button", name="Follow again").click()
    page.get_by_role("button", name="Pin the live version").wait_for(timeout=WAIT_MS)
