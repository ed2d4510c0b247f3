"""The matrix of every method and every caller, over real gRPC; default deny; what error texts may say."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry

from features.security.metrics_port import MetricsPort
from features.security.role import Role
from features.security.token_file import Tokens
from protos import serving_pb2 as pb
from serving import errors
from serving.call_errors import answers_errors
from serving.security.error_texts import public_text
from serving.security.guard import Guard
from serving.security.roles import REFLECTION, ROLE_OF
from serving.security.token_keeper import TokenKeeper

OK, UNAUTHENTICATED, DENIED = (
    grpc.StatusCode.OK,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
CALLERS = (*Role, "nobody", "stranger", "expired")
UNKNOWN_METHODS = (
    "/headrace.serving.v1.Recommender/Reset",
    "/headrace.serving.v1.ModelAdmin/UploadModel",
    "/grpc.channelz.v1.Channelz/GetServers",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/other.Service/Call",
)


class EchoEverything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc comes without types.
    """A server that has every method there is: what is refused, the guard refused."""

    def service(self, details: Any) -> Any:
        """Return a handler that answers with an empty message."""

        async def answer(_requests: Any, context: Any) -> None:
            await context.write(b"")

        return grpc.stream_stream_rpc_method_handler(answer)


@pytest_asyncio.fixture
async def callers(tmp_path: Path) -> AsyncIterator[tuple[Any, dict[str, str]]]:
    """A channel to a server that guards all roles, and the token of each caller."""
    keeper = TokenKeeper(tmp_path / "tokens.json", lambda: 1_000)
    secrets: dict[str, str] = {role: keeper.create("caller", role)[0] for role in Role}
    secrets |= {"nobody": "", "stranger": "hr-admin-guessed", "expired": keeper.create("old", Role.ADMIN, 1.0)[0]}
    tokens = Tokens(tmp_path / "tokens.json", clock_ms=lambda: 5_000)
    server = grpc.aio.server(interceptors=(Guard(tokens),), handlers=(EchoEverything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, secrets
    await server.stop(0)


async def code_of(channel: Any, method: str, secret: str) -> Any:
    """Return the code that a call is answered with.

    The call sends its one message in the batch that waits for the status: a stream's own write, coming behind a
    refusal, fails inside grpc.aio as INTERNAL now and then, whatever the server said.
    """
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    return await channel.unary_unary(method)(b"", metadata=metadata).code()


def expected_code(method: str, caller: str) -> Any:
    """Return what the table says, written down a second time."""
    if method not in ROLE_OF:
        return DENIED
    role = ROLE_OF[method]
    if role is None or caller == role:
        return OK
    return DENIED if caller in tuple(Role) else UNAUTHENTICATED


async def test_every_method_answers_every_caller_as_the_table_says(callers: tuple[Any, dict[str, str]]) -> None:
    """All cells: each method of each service, and methods that nobody knows, for each kind of caller."""
    channel, secrets = callers
    cells = list(itertools.product((*ROLE_OF, *UNKNOWN_METHODS), CALLERS))
    found = {cell: await code_of(channel, cell[0], secrets[cell[1]]) for cell in cells}
    assert {cell: code for cell, code in found.items() if code != expected_code(*cell)} == {}
    assert len(cells) == (15 + 5) * 6


def served_methods() -> Iterator[str]:
    """Every method of the services that a server may offer."""
    for file in (pb.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def test_table_holds_every_served_method() -> None:
    """A new method must be given a role, or nobody can call it; what no longer exists must go."""
    assert set(ROLE_OF) == set(served_methods())
    assert f"/{REFLECTION}/ServerReflectionInfo" in ROLE_OF


async def test_unguarded_role_is_open_and_unknown_methods_stay_closed(tmp_path: Path) -> None:
    """Loopback without tokens: anybody may ask for lists, nobody may order or call what is in no table."""
    server = grpc.aio.server(interceptors=(Guard(Tokens(tmp_path / "none.json")),), handlers=(EchoEverything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        codes = [
            await code_of(channel, method, "")
            for method in (
                "/headrace.serving.v1.Recommender/Rank",
                "/headrace.serving.v1.ModelAdmin/ListModels",
                "/a/b",
            )
        ]
    await server.stop(0)
    assert codes == [OK, UNAUTHENTICATED, DENIED]


def scrape(address: str, token: str = "") -> int:
    """Return the HTTP status of a scrape."""
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_metrics_want_their_token_once_one_is_configured(tmp_path: Path) -> None:
    """Open on loopback without one; then only a token of that role reads them."""
    keeper = TokenKeeper(tmp_path / "tokens.json")
    tokens = Tokens(tmp_path / "tokens.json")
    port = MetricsPort("127.0.0.1:0", CollectorRegistry(), tokens)
    port.start()
    try:
        before = scrape(port.address)
        secrets = {role: keeper.create("x", role)[0] for role in Role}
        tokens.check()
        after = {role: scrape(port.address, secret) for role, secret in secrets.items()}
        nobody = scrape(port.address)
    finally:
        port.stop()
    assert (before, after, nobody) == (200, {Role.RECOMMEND: 403, Role.ADMIN: 403, Role.METRICS: 200}, 401)


PLANTED_PATH, PLANTED_TOKEN = "/srv/secret-place/models/1.2/dense.safetensors", "hr-admin-c2VjcmV0"


class Failing(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc comes without types.
    """Fails as told, through the translation that all servicers use."""

    error: Exception = ValueError()

    @answers_errors
    async def Check(self, request: Any, context: Any) -> Any:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RequestError(f"cannot read {PLANTED_PATH} for {PLANTED_TOKEN}\nTraceback"), "INVALID_ARGUMENT"),
        (errors.VersionRefusedError(f"'{PLANTED_PATH}' has another digest"), "FAILED_PRECONDITION"),
        (KeyError(f"{PLANTED_TOKEN} in {PLANTED_PATH}"), "INTERNAL"),
        (FileNotFoundError(2, "No such file", PLANTED_PATH), "INTERNAL"),
    ],
)
async def test_error_texts_carry_no_paths_tokens_or_stacks(error: Exception, code: str) -> None:
    """Whatever an exception says of this machine stays in the log."""
    servicer = Failing()
    servicer.error = error
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    await server.stop(0)
    told = f"{caught.value.details()} {caught.value.trailing_metadata()}"
    assert caught.value.code().name == code
    assert not [word for word in ("secret-place", "c2VjcmV0", "\n", "KeyError") if word in told]


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("cannot read /srv/a/b.json", "cannot read …/b.json"),
        ("see '/srv/a/b/' now", "see '…/' now"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("version 1.2/dense.safetensors has sha256 aa", "version 1.2/dense.safetensors has sha256 aa"),
        ("user_id has 0 bytes; send 1 to 128", "user_id has 0 bytes; send 1 to 128"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_public_text_keeps_what_helps(text: str, public: str) -> None:
    """File names, versions and bounds stay."""
    assert public_text(text) == public
