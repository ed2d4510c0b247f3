"""What a view must look like, whatever it shows: asked of the browser that drew it."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

VIEWS = ("overview", "learning", "versions", "traffic", "data", "users", "try", "insights")
DESKTOP, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}

_OVERLAPS = """() => {
  const wanted = ['main h1', 'main h2', 'main h3', 'main p', 'main td', 'main th', 'main button', 'main input',
    'main select', '.now div', 'nav a', '.tick', '.lane'].join();
  const inside = (box, frame) => ({left: Math.max(box.left, frame.left), right: Math.min(box.right, frame.right),
    top: Math.max(box.top, frame.top), bottom: Math.min(box.bottom, frame.bottom)});
  const text = (one) => one.textContent.trim().slice(0, 40);
  const seen = [...document.querySelectorAll(wanted)].filter((one) => one.getClientRects().length && text(one));
  const boxes = seen.map((one) => {
    let box = one.getBoundingClientRect();
    for (let up = one.parentElement; up; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX !== 'visible' || style.overflowY !== 'visible') box = inside(box, up.getBoundingClientRect());
    }
    return box;
  });
  const found = [];
  for (let a = 0; a < seen.length; a++) for (let b = a + 1; b < seen.length; b++) {
    if (seen[a].contains(seen[b]) || seen[b].contains(seen[a])) continue;
    const width = Math.min(boxes[a].right, boxes[b].right) - Math.max(boxes[a].left, boxes[b].left);
    const height = Math.min(boxes[a].bottom, boxes[b].bottom) - Math.max(boxes[a].top, boxes[b].top);
    if (width > 3 && height > 3) found.push([text(seen[a]), text(seen[b])]);
  }
  return found;
}"""
_BLANK = """async () => {
  const blank = () => [...document.querySelectorAll('main .chart')].filter((one) => {
    const marks = one.querySelectorAll('path, rect, circle');
    return one.getBoundingClientRect().height < 20 || !(marks.length || one.textContent.trim());
  }).length;
  // What a poll makes anew is drawn with the browser's next frame.
  for (let tries = 0; tries < 100 && blank(); tries++) await new Promise((again) => setTimeout(again, 100));
  return blank();
}"""
_EMPTY = """() => [...document.querySelectorAll('main .card')].filter((one) =>
  one.innerText.trim().split('\\n').length < 2 && !one.querySelector('svg, input')).map((one) => one.innerText)"""
_DRAWN = """[...document.querySelectorAll('main .card')].length > 0
  && [...document.querySelectorAll('main .card')].every((one) =>
    one.innerText.trim().split('\\n').length > 1 || one.querySelector('svg, input'))
  && [...document.querySelectorAll('main .chart')].every((one) => one.firstChild)"""
_REPEATED = """async (png) => {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], {type: 'image/png'}));
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  let repeated = 0;
  for (let row = 1; row < image.height; row++) {
    const start = row * image.width;
    let place = 0;
    while (place < image.width && pixels[start + place] === pixels[start + place - image.width]) place++;
    repeated += place === image.width;
  }
  return repeated / image.height;
}"""
_TOO_WIDE = "() => document.documentElement.scrollWidth - window.innerWidth"


@contextmanager
def chromium() -> Iterator[Any]:
    """The machine's own browser, without a window; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; run `make setup`")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        pytest.skip("there is no chromium on PATH; Debian's package `chromium` brings one")
    with playwright.sync_playwright() as driver:
        # As root, as CI is, its sandbox cannot start.
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


def open_view(page: Any, view: str) -> None:
    """Open a view and wait until it has drawn what it read."""
    with page.expect_response(lambda answer: "/api/" in answer.url, timeout=60_000):
        page.evaluate("view => { location.hash = view; }", view)
    page.wait_for_function(f"() => {_DRAWN}", timeout=60_000)


def faults_of(page: Any) -> list[str]:
    """Return what is wrong with what the page shows now; empty where it looks as it should."""
    page.evaluate("() => window.scrollTo(0, 0)")
    faults = [f"{one!r} lies on {two!r}" for one, two in page.evaluate(_OVERLAPS)]
    if (more := page.evaluate(_TOO_WIDE)) > 0:
        faults.append(f"{more} px wider than the screen")
    if blank := page.evaluate(_BLANK):
        faults.append(f"{blank} blank charts")
    if "dashboard answered" in (told := page.locator("#notices").inner_text()):
        faults.append(told)
    return faults + [f"nothing in the card {text!r}" for text in page.evaluate(_EMPTY)]


def share_of_repeated_rows(page: Any) -> float:
    """Return how many rows of a screenshot are the row above again: near 1 where nothing was drawn."""
    share: float = page.evaluate(_REPEATED, base64.b64encode(page.screenshot()).decode())
    return share
