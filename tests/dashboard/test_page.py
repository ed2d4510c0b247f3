"""The page in a real browser: every view in light and dark and on a phone, by keyboard, with hostile text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.page_checks import (
    DESKTOP,
    PHONE,
    VIEWS,
    chromium,
    faults_of,
    open_view,
    share_of_repeated_rows,
)
from tests.dashboard.staged_board import HOSTILE, served_page, staged_board

pytestmark = pytest.mark.browser

_FOCUSED = "() => [document.activeElement.hash, getComputedStyle(document.activeElement).outlineStyle]"
MODES: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "reduced_motion": "reduce"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for the module."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A link that signs in to a page with a believable past."""
    state_dir = tmp_path_factory.mktemp("state")
    with served_page(staged_board(state_dir)) as url:
        yield f"{url}/#token={(state_dir / 'admin.token').read_text()}"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the page is looked at."""
    return MODES[request.param]


@pytest.fixture
def page(browser: Any, link: str) -> Iterator[Any]:
    """The page, signed in, on a desk."""
    with _opened(browser, link, MODES["light"]) as opened:
        yield opened


class _opened:
    """A tab of its own, whose errors fail the test."""

    def __init__(self, browser: Any, link: str, mode: dict[str, Any]) -> None:
        self._context = browser.new_context(**mode)
        self._link = link
        self.errors: list[str] = []

    def __enter__(self) -> Any:
        page = self._context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if "Policy" in message.text else None)
        page.goto(self._link)
        page.get_by_role("button", name="Sign out").wait_for(timeout=60_000)
        return page

    def __exit__(self, *_: object) -> None:
        self._context.close()
        assert self.errors == []


def test_no_view_overlaps_is_empty_or_too_wide(browser: Any, link: str, mode: dict[str, Any]) -> None:
    """Asked of the boxes of every element and of the screenshot."""
    with _opened(browser, link, mode) as page:
        for view in VIEWS:
            open_view(page, view)
            page.wait_for_function("() => !document.getElementById('toast').textContent", timeout=30_000)
            assert faults_of(page) == [], view
            assert share_of_repeated_rows(page) < 0.75, view


def test_hostile_ids_and_messages_stay_text(page: Any) -> None:
    """They show as they are and run nothing."""
    for view in ("data", "users", "insights"):
        open_view(page, view)
        page.get_by_text(HOSTILE, exact=True).first.wait_for(timeout=30_000)
        assert page.locator("main img").count() == 0
    assert "owned" not in page.title()


def test_the_token_leaves_the_address(page: Any) -> None:
    """Neither the address bar nor the history, nor any script, holds it."""
    assert "token" not in page.evaluate("() => location.href + document.cookie + JSON.stringify(localStorage)")


def test_the_keyboard_reaches_every_view(page: Any) -> None:
    """Tab goes from the skip link through the views, the focus is seen, Enter opens."""
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Tab")  # The brand.
    for view in VIEWS:
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => [document.activeElement.hash, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert focused == [f"#{view}", "solid"]
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Insights").wait_for(timeout=30_000)


def test_a_version_says_why_and_is_compared(page: Any) -> None:
    """Choosing a held one shows its reason; two with metrics stand side by side."""
    open_view(page, "versions")
    page.get_by_role("button", name="3.388").click()
    page.get_by_text("organic_ndcg fell by 0.051").first.wait_for()
    page.get_by_role("button", name="3.400").click()
    page.get_by_label("Compare with").select_option("3.412")
    page.get_by_role("columnheader", name="difference").wait_for()
    assert page.get_by_role("row", name="hit rate in the first 10").inner_text().split("\t")[1:3] == [
        "0.1900",
        "0.1910",
    ]


def test_a_rollback_that_is_called_off_orders_nothing(page: Any) -> None:
    """The dialog names the version and what will happen; Escape and Cancel send nothing."""
    orders: list[str] = []
    page.on("request", lambda request: orders.append(request.url) if request.method == "POST" else None)
    open_view(page, "versions")
    page.get_by_role("button", name="3.280").click()
    for _ in range(2):
        page.get_by_role("button", name="Roll back to 3.280").click()
        assert "stays there until you let it follow again" in page.locator("dialog").inner_text()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Roll back to 3.280").click()
    page.get_by_role("button", name="Cancel").click()
    assert orders == []


def test_without_a_token_nothing_can_be_ordered(browser: Any, link: str) -> None:
    """The buttons say why they do nothing."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.goto(link.partition("#")[0] + "#versions")
    button = page.get_by_role("button", name="Pin the live version")
    button.wait_for(timeout=60_000)
    assert (button.is_disabled(), button.get_attribute("title")) == (True, "Sign in with an admin token first")
    context.close()


def test_what_fails_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    """A server that is down in its view, the dashboard itself above all of them."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    with served_page(staged_board(tmp_path)) as url:
        page.goto(f"{url}/#try")
        page.get_by_text("no server answers").wait_for(timeout=60_000)
    page.get_by_text("The dashboard does not answer").wait_for(timeout=60_000)
    context.close()


def test_motion_is_left_out_where_it_is_not_wanted(browser: Any, link: str) -> None:
    """Bars do not glide."""
    with _opened(browser, link, MODES["phone"]) as page:
        open_view(page, "traffic")
        assert page.evaluate("() => getComputedStyle(document.querySelector('.meter-in')).transitionDuration") == "0s"
