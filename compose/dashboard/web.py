"""The HTTP side: which path answers what, to whom."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compose.dashboard import views
from compose.dashboard.access import COOKIE, HEADERS, Access
from compose.dashboard.arms_report import ArmsReport
from compose.dashboard.board import Board
from compose.errors import StackError, StackNotRunningError
from compose.serving_access import ServingAccess
from compose.serving_client import AdminClient
from compose.serving_tables import to_json
from headrace_client.errors import InvalidRecordError
from headrace_client.records import check_id

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
_MOST_BODY = 16 * 1024
_ORDERS = ("rollback", "release", "reject", "pin", "unpin", "reload", "load")
_OF_A_VERSION = ("rollback", "load", "pin")

Handler = Callable[[Request], Awaitable[Any]]


class BadInputError(StackError):
    """Expected: what the page sent cannot be used."""


class _WithHeaders:
    """Puts the security headers on every answer, errors and files too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                message["headers"] = [pair for pair in message["headers"] if pair[0].lower() not in own]
                message["headers"] += list(own.items())
            await send(message)

        await self._app(scope, receive, send_with if scope["type"] == "http" else send)


class Web:
    """Answers the page.

    Args:
        board: what is known.
        access: who may do what.
        arms: what arms earn; costs a pass over topics.
        is_https: whether cookies must not travel in plain text.
    """

    def __init__(self, board: Board, access: Access, arms: ArmsReport, is_https: bool = False) -> None:
        self._board = board
        self._access = access
        self._arms = arms
        self._is_https = is_https

    def app(self, follow: Callable[[], Awaitable[None]] | None = None) -> Starlette:
        """Return the application; `follow` runs as long as it does."""

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            task = None if follow is None else asyncio.ensure_future(follow())
            yield
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        board = self._board
        reads: dict[str, Handler] = {
            "summary": self._summary,
            "learning": _told(lambda _: views.learning(board)),
            "versions": _told(lambda _: views.versions(board)),
            "traffic": _told(lambda _: views.traffic(board)),
            "data": _told(lambda request: views.data(board, request.query_params.get("reason", ""))),
            "insights": _told(lambda _: views.insights(board)),
            "arms": lambda _: self._arms.read(),
            "user": self._user,
            "try": self._try,
        }
        routes = [
            Route("/healthz", lambda _: JSONResponse({"is_up": True})),
            *(Route(f"/api/{name}", self._read(handler)) for name, handler in reads.items()),
            Route("/api/order", self._write(self._order), methods=["POST"]),
            Route("/api/send", self._write(self._send), methods=["POST"]),
            Route("/api/session", self._session, methods=["POST", "DELETE"]),
            Mount("/", _Page(directory=PAGE, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)], lifespan=lifespan)

    def _read(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if why := self._access.why_foreign(request):
                return _error(403, why)
            if not self._access.may_read(request):
                return _error(401, "sign in with a token of role metrics or admin")
            self._board.watch()
            self._board.metrics.on_read()
            return await _answered(handler, request)

        return answer

    def _write(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if why := self._access.why_foreign(request):
                return _error(403, why)
            if not self._access.may_order(request):
                return _error(401, "sign in with a token of role admin; `headrace dashboard --sign-in` prints a link")
            return await _answered(handler, request)

        return answer

    async def _summary(self, request: Request) -> Any:
        return {**views.summary(self._board), "may_order": self._access.may_order(request)}

    async def _user(self, request: Request) -> Any:
        user_id = request.query_params.get("id", "")
        if not user_id:
            with self._board.tail.lock:
                return {"newest_users": self._board.insights.newest_users(12)}
        _check("user_id", user_id)
        try:
            return await self._board.users.look(user_id, self._board.now_ms())
        except (OSError, TimeoutError) as error:
            raise StackNotRunningError("the feature store does not answer; see `headrace status`") from error
        except DecodeError as error:
            raise StackError("the row of this user cannot be read: it is none of Feast's") from error

    async def _try(self, request: Request) -> Any:
        user_id = request.query_params.get("id", "")
        if not user_id:
            return {"actions": self._board.trial.actions, "surface": self._board.trial.surface}
        _check("user_id", user_id)
        num = request.query_params.get("num", "10")
        if not num.isdigit() or not 1 <= int(num) <= 50:
            raise BadInputError(f"num is {num!r:.20}; send 1 to 50")
        is_explained = request.query_params.get("why", "1") == "1"
        return await self._board.trial.ask(user_id, int(num), self._board.tail, is_explained)

    async def _send(self, request: Request) -> Any:
        body = await _body(request)
        user_id, item_id, action = (str(body.get(name, "")) for name in ("user_id", "item_id", "action"))
        _check("user_id", user_id)
        _check("item_id", item_id)
        return await self._board.trial.send(user_id, item_id, action)

    async def _order(self, request: Request) -> Any:
        """Carry an order out with the caller's own token, which the server judges again."""
        body = await _body(request)
        order, version = str(body.get("order", "")), str(body.get("version", ""))
        if order not in _ORDERS:
            raise BadInputError(f"order is {order!r:.40}; send one of {', '.join(_ORDERS)}")
        if order in _OF_A_VERSION and not version:
            raise BadInputError(f"{order} needs a version; name one as EPOCH.SEQ")
        secret = self._access.secret_of(request)
        client = AdminClient(self._board.endpoints, access=ServingAccess(self._board.endpoints.tls, secret))
        status = await asyncio.to_thread(_carry_out, client, order, version, str(body.get("reason", ""))[:500])
        self._board.metrics.on_order(order)
        logger.info("audit: %s %.40r by a page of %s", order, version, request.client.host if request.client else "?")
        await self._board.refresh_versions()
        return to_json(status)

    async def _session(self, request: Request) -> Response:
        if why := self._access.why_foreign(request):
            return _error(403, why)
        answer = JSONResponse({})
        if request.method == "DELETE":
            self._access.sign_out(request)
            answer.delete_cookie(COOKIE, path="/")
            return answer
        try:
            cookie = self._access.sign_in(str((await _body(request)).get("token", "")).strip())
        except StackError as error:
            return _error(400, str(error))
        if not cookie:
            return _error(401, "this token is unknown, expired, or of another role; admin and metrics may sign in")
        answer.set_cookie(COOKIE, cookie, path="/", httponly=True, samesite="strict", secure=self._is_https)
        return answer


class _Page(StaticFiles):
    """The files of the page; those whose names follow their content could be cached, these are small."""


def _told(view: Callable[[Request], dict[str, Any]]) -> Handler:
    async def answer(request: Request) -> Any:
        return view(request)

    return answer


async def _answered(handler: Handler, request: Request) -> Response:
    try:
        return JSONResponse(await handler(request))
    except BadInputError as error:
        return _error(400, str(error))
    except StackError as error:
        return _error(502, str(error))
    except ClientDisconnect:
        return Response(status_code=499)


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        BadInputError: it is too large, or none.
    """
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MOST_BODY:
            raise BadInputError(f"the request is larger than {_MOST_BODY} bytes")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInputError("the request is no JSON") from error
    if not isinstance(data, dict):
        raise BadInputError("the request is no JSON object")
    return data


def _check(field: str, value: str) -> None:
    try:
        check_id(field, value)
    except InvalidRecordError as error:
        raise BadInputError(str(error)) from error


def _carry_out(client: AdminClient, order: str, version: str, reason: str) -> Any:
    if order in _OF_A_VERSION:
        return getattr(client, order)(version)
    return client.reject(reason) if order == "reject" else getattr(client, order)()
