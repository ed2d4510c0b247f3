"""Laws of where a server listens and over what: loopback by default, TLS and tokens for everybody else, bounds."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from features.config import ClientTls
from features.errors import StartupError
from features.security.config import LimitsConfig, SecurityConfig, TlsConfig
from features.security.listening import is_loopback
from features.security.role import Role
from features.security.token_file import Tokens
from headrace_client import AsyncRecommender, HeadraceClientError, RefusedError, Tls
from protos import serving_pb2 as pb
from protos import serving_pb2_grpc
from serving.config import ServingConfig
from serving.edge import Edge
from serving.security.connection import connection_options
from serving.security.token_keeper import TokenKeeper
from tests.serving.secure_parts import Certificates, make_certificates
from tests.serving.serving_parts import World
from tests.serving.test_server import make_server, settings_for


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Another authority, which nobody trusts."""
    return make_certificates(tmp_path_factory.mktemp("others"))


def tls_of(certificates: Certificates, *, wants_client: bool = False) -> TlsConfig:
    """Return a server's certificates."""
    return TlsConfig(
        certificate=certificates.path("server.pem"),
        key=certificates.path("server.key"),
        client_ca=certificates.path("ca.pem") if wants_client else None,
    )


def edge_of(folder: Path, tls: TlsConfig | None = None, **limits: Any) -> tuple[Edge, Tokens]:
    """Return an edge over the tokens of a folder."""
    tokens = Tokens(folder / "tokens.json")
    security = SecurityConfig(tls=tls, limits=LimitsConfig(**limits))
    return Edge(ServingConfig(security=security), tokens), tokens


@pytest.mark.parametrize(
    ("address", "is_here"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.org:1", False),
        ("127.0.0.1.example.org:1", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(address: str, is_here: bool) -> None:
    """A name that merely looks like it is not."""
    assert is_loopback(address) is is_here


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("has_tls", "has_token"), [(False, False), (True, False), (False, True)])
async def test_public_bind_wants_tls_and_a_token_of_its_role(
    tmp_path: Path, certificates: Certificates, role: Role, has_tls: bool, has_token: bool
) -> None:
    """One sentence: the address, what is missing, and what to do."""
    other = Role.METRICS if role is not Role.METRICS else Role.ADMIN
    TokenKeeper(tmp_path / "tokens.json").create("x", role if has_token else other)
    edge, _ = edge_of(tmp_path, tls_of(certificates) if has_tls else None)
    with pytest.raises(StartupError) as caught:
        edge.listen(edge.make_server(), "0.0.0.0:0", "--address", role)
    told = str(caught.value)
    assert ("TLS (serving.security.tls" in told, "headrace tokens create" in told) == (not has_tls, not has_token)
    assert ("'0.0.0.0:0'" in told, "listen on 127.0.0.1" in told) == (True, True)


async def test_public_bind_with_an_expired_token_is_refused(tmp_path: Path, certificates: Certificates) -> None:
    """What has expired lets nobody in, so that nobody could call."""
    TokenKeeper(tmp_path / "tokens.json", lambda: 0).create("x", Role.RECOMMEND, 1.0)
    edge, _ = edge_of(tmp_path, tls_of(certificates))
    with pytest.raises(StartupError, match="a token"):
        edge.listen(edge.make_server(), "0.0.0.0:0", "--address", Role.RECOMMEND)


async def test_public_bind_with_both_listens_and_guards(tmp_path: Path, certificates: Certificates) -> None:
    """The role stays guarded, whatever becomes of the tokens."""
    TokenKeeper(tmp_path / "tokens.json").create("x", Role.RECOMMEND)
    edge, tokens = edge_of(tmp_path, tls_of(certificates))
    server = edge.make_server()
    assert not edge.listen(server, "0.0.0.0:0", "--address", Role.RECOMMEND).endswith(":0")
    assert tokens.guards(Role.RECOMMEND)
    await server.stop(0)


@pytest.mark.parametrize("spoil", ["missing", "no pem", "another key"])
async def test_certificates_that_cannot_be_used_are_named(
    tmp_path: Path, certificates: Certificates, others: Certificates, spoil: str
) -> None:
    """At the start, not at the first call."""
    key = {"missing": tmp_path / "no.key", "no pem": tmp_path / "bad.key", "another key": others.path("server.key")}
    (tmp_path / "bad.key").write_text("not a key")
    edge, _ = edge_of(tmp_path, TlsConfig(certificate=certificates.path("server.pem"), key=key[spoil]))
    with pytest.raises(StartupError, match=r"serving\.security\.tls"):
        edge.listen(edge.make_server(), "127.0.0.1:0", "--address", Role.RECOMMEND)


async def test_server_over_tls_answers_its_token_and_nobody_else(
    world: World, certificates: Certificates, others: Certificates
) -> None:
    """The whole server with mTLS and a token, and the public client: every other caller is refused."""
    world.write("1.1")
    secret, _ = TokenKeeper(world.directory / "tokens.json").create("shop", Role.RECOMMEND)
    security = SecurityConfig(tls=tls_of(certificates, wants_client=True), tokens_check_s=0.05)
    settings = dataclasses.replace(
        settings_for(world.directory), serving=ServingConfig(catch_up_s=0.1, deadline_ms=60_000, security=security)
    )
    server = make_server(settings)
    await server.start()
    own = Tls(certificates.path("ca.pem"), certificates.path("client.pem"), certificates.path("client.key"))
    strangers = {
        "plain text": (None, secret),
        "no certificate": (Tls(certificates.path("ca.pem")), secret),
        "certificate of others": (
            Tls(certificates.path("ca.pem"), others.path("client.pem"), others.path("client.key")),
            secret,
        ),
        "server of others": (Tls(others.path("ca.pem"), own.certificate, own.key), secret),
        "no token": (own, ""),
        "wrong token": (own, "hr-recommend-guessed"),
    }
    try:
        async with AsyncRecommender(server.address, 60.0, secret, own) as client:
            assert (await client.recommend("ann")).model_version == "1.1"
        for tls, token in strangers.values():
            async with AsyncRecommender(server.address, 1.0, token, tls) as client:
                with pytest.raises(HeadraceClientError):
                    await client.recommend("ann")
        assert server.times.requests == 1
        TokenKeeper(world.directory / "tokens.json").revoke("shop")
        async with asyncio.timeout(30), AsyncRecommender(server.address, 10.0, secret, own) as client:
            while server.tokens.count(Role.RECOMMEND):  # Until the server has looked at the file.
                await asyncio.sleep(0.01)
            with pytest.raises(RefusedError, match="UNAUTHENTICATED"):
                await client.recommend("ann")
    finally:
        await server.stop()


class Peers(serving_pb2_grpc.RecommenderServicer):
    """Answers with the caller's port, or waits."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.release = asyncio.Event()

    async def Rank(self, request: Any, context: Any) -> Any:
        """Count how many run at once, and wait."""
        self.running += 1
        self.most = max(self.most, self.running)
        await self.release.wait()
        self.running -= 1
        return pb.RankResponse(request_id=context.peer())


async def running(folder: Path, **limits: Any) -> tuple[Any, str, Peers]:
    """Run `Peers` behind an edge with these limits."""
    edge, _ = edge_of(folder, **limits)
    server, servicer = edge.make_server(), Peers()
    serving_pb2_grpc.add_RecommenderServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    address = edge.listen(server, "127.0.0.1:0", "--address", Role.RECOMMEND)
    await server.start()
    return server, address, servicer


async def test_one_connection_has_so_many_calls_at_a_time(tmp_path: Path) -> None:
    """The others wait in the client, or are refused and tried again by it; no call fails."""
    server, address, servicer = await running(tmp_path, concurrent_streams=3)
    async with AsyncRecommender(address, deadline_s=60.0) as client:
        calls = [asyncio.ensure_future(client.rank("ann", ["i"])) for _ in range(12)]
        async with asyncio.timeout(30):
            while servicer.running < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        servicer.release.set()
        await asyncio.gather(*calls)
    await server.stop(0)
    assert servicer.most == 3


async def test_old_connections_are_left_without_a_failed_call(tmp_path: Path) -> None:
    """A client is sent to a fresh connection again and again, and notices nothing."""
    server, address, servicer = await running(tmp_path, connection_age_s=0.2)
    servicer.release.set()
    peers: set[str] = set()
    async with asyncio.timeout(60), AsyncRecommender(address, deadline_s=30.0) as client:
        while len(peers) < 3:
            peers.add((await client.rank("ann", ["i"])).request_id)
            await asyncio.sleep(0.01)
    await server.stop(0)


async def test_silent_callers_are_cut_off(tmp_path: Path) -> None:
    """Who connects and says nothing holds no socket for good."""
    server, address, _ = await running(tmp_path, handshake_s=0.3)
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as silent:
        silent.settimeout(30)
        received = await asyncio.to_thread(_read_to_the_end, silent)
    await server.stop(0)
    assert len(received) < 1000


def _read_to_the_end(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(1000):
        data += chunk
    return data


async def test_large_requests_and_metadata_are_refused(tmp_path: Path) -> None:
    """Before anything reads them."""
    server, address, servicer = await running(tmp_path)
    servicer.release.set()
    async with AsyncRecommender(address, deadline_s=30.0) as client:
        with pytest.raises(HeadraceClientError, match="larger than max"):
            await client.rank("ann", ["i" * 100] * 1000)
    async with AsyncRecommender(address, deadline_s=30.0, token="t" * 20_000) as client:
        with pytest.raises(HeadraceClientError):
            await client.rank("ann", ["i"])
    await server.stop(0)
    assert servicer.most == 0


def test_own_commands_trust_the_server_itself_unless_told_otherwise(certificates: Certificates) -> None:
    """A self-signed certificate needs no more configuration."""
    tls = tls_of(certificates)
    assert tls.for_own_clients() == ClientTls(ca=str(tls.certificate))
    told = tls.model_copy(update={"clients": ClientTls(ca="ca.pem")})
    assert told.for_own_clients() == ClientTls(ca="ca.pem")


def test_bounds_have_shipped_defaults() -> None:
    """A hundred calls a connection, calls end behind it within the drain, no channelz."""
    options = dict(connection_options(LimitsConfig(), drain_s=5.0))
    assert options["grpc.max_concurrent_streams"] == 100
    assert options["grpc.max_connection_age_grace_ms"] == 5000
    assert (options["grpc.http2.max_ping_strikes"], options["grpc.enable_channelz"]) == (2, 0)
