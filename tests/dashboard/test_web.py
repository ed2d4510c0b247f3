"""Who may look and order, and what no other site can do: over real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.dashboard.access import COOKIE, HEADERS, ORDER_HEADER
from features.security.role import Role
from serving.security.token_keeper import TokenKeeper
from tests.dashboard.staged_board import HOSTILE, served_page, staged_board


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of the page's stack."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def url(state_dir: Path) -> Iterator[str]:
    """A page that needs no token for reading."""
    with served_page(staged_board(state_dir)) as address:
        yield address


def ask(url: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """Return status, JSON (or text) and headers of an answer."""
    content = None if body is None else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{url}{path}", content, given)
    try:
        with urllib.request.urlopen(request, timeout=30.0) as answer:
            return answer.status, _read(answer), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read(error), error.headers


def _read(answer: Any) -> Any:
    text = answer.read().decode()
    return json.loads(text) if answer.headers.get_content_type() == "application/json" else text


def order(url: str, body: Any, **headers: str) -> tuple[int, Any, Any]:
    """Send an order as the page does."""
    return ask(url, "/api/order", body, **{ORDER_HEADER: "1", "Content-Type": "application/json", **headers})


@pytest.mark.parametrize("path", ["/", "/main.js", "/style.css", "/api/summary", "/api/order", "/nothing"])
def test_every_answer_carries_the_security_headers(url: str, path: str) -> None:
    """Files and errors too: no inline code, no frame, no other host."""
    _, _, headers = ask(url, path)
    assert {name: headers[name] for name in HEADERS} == HEADERS


def test_the_page_names_no_other_host_and_no_secret(url: str, state_dir: Path) -> None:
    """Nothing is fetched from elsewhere, and the token is in no answer."""
    token = (state_dir / "admin.token").read_text()
    folder = Path(__file__).parents[2] / "compose" / "dashboard" / "page"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:/" not in text, file.name
        assert "https:/" not in text, file.name
    assert all(token not in json.dumps(ask(url, f"/api/{view}")[1]) for view in ("summary", "versions", "data", "try"))


@pytest.mark.parametrize("view", ["summary", "learning", "versions", "traffic", "data", "insights", "user", "try"])
def test_every_view_answers(url: str, view: str) -> None:
    """Loopback without metrics tokens may be read by whoever is on this machine."""
    assert ask(url, f"/api/{view}")[0] == 200


def test_an_order_needs_the_admin_token(url: str, state_dir: Path) -> None:
    """Without one it is refused before anything is asked of the server; with one the server is asked."""
    assert order(url, {"order": "pin", "version": "1.1"})[0] == 401
    token = (state_dir / "admin.token").read_text()
    status, answer, _ = order(url, {"order": "pin", "version": "1.1"}, Authorization=f"Bearer {token}")
    assert (status, "no server answers" in answer["error"]) == (502, True)


@pytest.mark.parametrize("body", [[], {"order": "drop"}, {"order": "rollback"}, {"order": "load", "version": ""}])
def test_an_order_that_makes_no_sense_is_refused_in_words(url: str, state_dir: Path, body: Any) -> None:
    """A rollback from a page names its version: nobody must guess which one it would be."""
    token = (state_dir / "admin.token").read_text()
    status, answer, _ = order(url, body, Authorization=f"Bearer {token}")
    assert (status, bool(answer["error"])) == (400, True)


def test_another_site_cannot_order_even_with_the_cookie(url: str, state_dir: Path) -> None:
    """Neither by its origin, nor by a form, nor by a name that it points at this machine."""
    token = (state_dir / "admin.token").read_text()
    status, _, headers = ask(url, "/api/session", {"token": token}, **{ORDER_HEADER: "1"})
    cookie = headers["Set-Cookie"].split(";")[0]
    assert (
        status,
        "httponly" in headers["Set-Cookie"].lower(),
        "samesite=strict" in headers["Set-Cookie"].lower(),
    ) == (
        200,
        True,
        True,
    )
    body = {"order": "reload"}
    assert order(url, body, Cookie=cookie)[0] == 502  # Let through: only the server is missing.
    assert order(url, body, Cookie=cookie, Origin="http://evil.example")[0] == 403
    assert ask(url, "/api/order", body, Cookie=cookie)[0] == 403
    assert ask(url, "/api/summary", Host="evil.example:80")[0] == 403


def test_a_wrong_token_opens_no_session(url: str) -> None:
    """And a made-up cookie is nobody."""
    assert ask(url, "/api/session", {"token": "hr-admin-wrong"}, **{ORDER_HEADER: "1"})[0] == 401
    assert ask(url, "/api/summary", Cookie=f"{COOKIE}=x")[1]["may_order"] is False


def test_an_id_that_is_none_is_refused_in_words(url: str) -> None:
    """Control characters and endless ids do not reach the store."""
    for bad in ("%00", "a" * 200):
        status, answer, _ = ask(url, f"/api/user?id={bad}")
        assert (status, bool(answer["error"])) == (400, True)


def test_a_large_body_is_refused(url: str, state_dir: Path) -> None:
    """It does not fill the memory."""
    token = (state_dir / "admin.token").read_text()
    assert order(url, {"order": "x" * 100_000}, Authorization=f"Bearer {token}")[0] == 400


def test_hostile_ids_travel_as_text(url: str) -> None:
    """JSON holds them as they are; the page makes text of them."""
    assert HOSTILE in ask(url, "/api/user")[1]["newest_users"]


def test_metrics_tokens_guard_reading(tmp_path: Path) -> None:
    """Where one exists, nobody reads without one; it may read and not order."""
    secret, _ = TokenKeeper(tmp_path / "tokens.json").create("grafana", Role.METRICS)
    with served_page(staged_board(tmp_path)) as url:
        bearer = {"Authorization": f"Bearer {secret}"}
        assert [ask(url, "/api/summary")[0], ask(url, "/api/summary", **bearer)[0]] == [401, 200]
        assert order(url, {"order": "reload"}, **bearer)[0] == 401
        assert ask(url, "/")[0] == 200
