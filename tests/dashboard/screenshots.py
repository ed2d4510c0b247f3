"""Draw the pictures of the README: `python -m tests.dashboard.screenshots`, from the tests' staged shop.

With `--endpoints FILE` from a running stack instead, and then Try it too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.config import load_endpoints
from tests.dashboard.page_checks import PHONE, chromium, faults_of, open_view
from tests.dashboard.staged_board import served_page, staged_board

FOLDER = Path(__file__).parents[2] / "docs" / "images"
_DESK = {"width": 1280, "height": 860}
_PICTURES: list[tuple[str, str, dict[str, Any]]] = [
    ("dashboard-overview", "overview", {"viewport": _DESK, "color_scheme": "light"}),
    ("dashboard-versions", "versions", {"viewport": _DESK, "color_scheme": "dark"}),
    ("dashboard-phone", "learning", {"viewport": PHONE, "color_scheme": "dark"}),
    ("dashboard-try", "try", {"viewport": _DESK, "color_scheme": "light"}),
]
"""File, view, and how it is looked at."""
_SETTLE_MS = 5000
"""Charts get their figures every two seconds."""


def main() -> None:
    """Write one PNG a picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=Path)
    path = parser.parse_args().endpoints
    FOLDER.mkdir(parents=True, exist_ok=True)
    if path is not None:
        endpoints = load_endpoints(path)
        draw_all(f"http://{endpoints.dashboard}", Path(endpoints.state), _PICTURES)
        return
    with tempfile.TemporaryDirectory() as folder, served_page(staged_board(Path(folder))) as url:
        draw_all(url, Path(folder), [picture for picture in _PICTURES if picture[1] != "try"])


def draw_all(url: str, state_dir: Path, pictures: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Draw pictures of one page, signed in."""
    token = (state_dir / "admin.token").read_text(encoding="utf-8")
    with chromium() as browser:
        for name, view, look in pictures:
            page = browser.new_context(**look).new_page()
            page.goto(f"{url}/#token={token}")
            page.get_by_role("button", name="Sign out").wait_for(timeout=60_000)
            draw(page, view, FOLDER / f"{name}.png")
            page.context.close()


def draw(page: Any, view: str, path: Path) -> None:
    """Write one view as it is seen without scrolling; in Try it, after a like."""
    open_view(page, view)
    if view == "try":
        page.get_by_role("button", name="Send like").nth(1).click(timeout=60_000)
        page.get_by_text("The list changed").wait_for(timeout=60_000)
    page.wait_for_function("() => !document.getElementById('toast').textContent", timeout=30_000)
    page.wait_for_timeout(_SETTLE_MS)
    for fault in faults_of(page):
        print(f"{path.name}: {fault}")
    page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
