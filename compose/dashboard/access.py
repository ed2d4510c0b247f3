"""Who may look and who may order: the server's own tokens and roles, and what a browser must not be talked into.

Reading needs a token of role `metrics` (or `admin`) where such tokens guard the metrics; orders and events need role
`admin` always. A browser hands its token over once and holds a random cookie from then on, which no script can read.
What comes from another site is refused: by the Host header (a name that another site points at this address), by
Origin, and as orders are JSON with a header that a form cannot send.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

from features.security.listening import is_loopback
from features.security.role import Role
from features.security.token_file import Tokens
from features.security.tokens import bearer_of

COOKIE = "headrace_session"
ORDER_HEADER = "x-headrace-order"
"""Sent with everything that changes something: a form of another site cannot send it."""
_SESSIONS = 200
_LIVES_S = 12 * 3600.0
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: no inline code, no other host, in no frame."""


class Access:
    """Judges requests.

    Args:
        tokens: the server's.
        address: where the page listens.
        clock_s: seconds that only go forward.
    """

    def __init__(self, tokens: Tokens, address: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._is_local = is_loopback(address)
        self._clock_s = clock_s
        self._sessions: OrderedDict[str, tuple[str, float]] = OrderedDict()
        """Cookie -> the token that was handed over, and when."""

    def why_foreign(self, request: Request) -> str:
        """Return why a request cannot come from our own page; empty where it can."""
        host = request.headers.get("host", "")
        if self._is_local and host.rpartition(":")[0] not in _LOCAL_NAMES and host not in _LOCAL_NAMES:
            return f"the page listens on this machine only, but was called as {host!r:.80}; open it as 127.0.0.1"
        origin = request.headers.get("origin", "")
        if origin and origin.rpartition("//")[2] != host:
            return "the request came from a page of another site"
        if request.method != "GET" and request.headers.get(ORDER_HEADER) != "1":
            return f"the header {ORDER_HEADER} is missing; orders come from the page itself"
        return ""

    def may_read(self, request: Request) -> bool:
        """Say whether the caller may look."""
        secret = self.secret_of(request)
        return not self._tokens.guards(Role.METRICS) or self._has(Role.METRICS, secret) or self._has(Role.ADMIN, secret)

    def may_order(self, request: Request) -> bool:
        """Say whether the caller may order, and send events."""
        return self._has(Role.ADMIN, self.secret_of(request))

    def sign_in(self, secret: str) -> str:
        """Return the cookie of a new session; empty where the token has neither role."""
        if not self._has(Role.ADMIN, secret) and not self._has_metrics(secret):
            return ""
        cookie = secrets.token_urlsafe(32)
        self._sessions[cookie] = secret, self._clock_s()
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def sign_out(self, request: Request) -> None:
        """Forget the caller's session."""
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)

    def secret_of(self, request: Request) -> str:
        """Return the token that a request carries, by header or session; empty without one."""
        bearer = bearer_of(request.headers.get("authorization", ""))
        if bearer:
            return bearer
        given = request.cookies.get(COOKIE, "")
        for cookie, (secret, since_s) in self._sessions.items():
            if hmac.compare_digest(cookie.encode(), given.encode()):
                return secret if self._clock_s() - since_s < _LIVES_S else ""
        return ""

    def _has(self, role: Role, secret: str) -> bool:
        return bool(secret) and self._tokens.guards(role) and not self._tokens.why_not(role, secret)

    def _has_metrics(self, secret: str) -> bool:
        return self._has(Role.METRICS, secret)
