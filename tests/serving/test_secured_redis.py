"""A Redis that wants certificates, a name and a password, and what each part of ours may do there."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import ConnectionError as RedisConnectionError
from redis import Redis, RedisError
from redis.asyncio import Redis as AsyncRedis

from compose.exporter.redis_metrics import RedisMetrics
from features.apply import apply_features
from features.config import ConfigError, Endpoints
from features.consumed_items import consumed_key
from features.feast_rows import FeastRows, feast_project
from features.online_writer import OnlineWriter
from features.redis_connection import RedisSecurity
from features.redis_settings import redis_settings
from features.store import open_store
from serving.user_rows import RedisUserRows
from tests.features.feature_records import NOW_MS, counter_value, decoded
from tests.running_stack import ROOT, wait_for
from tests.serving.secure_parts import make_certificates
from tests.serving.serving_parts import APP
from tests.serving.tls_in_front import tls_in_front

PASSWORD = 's3cret, "with" a comma'
RIGHTS = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def rights_of(name: str) -> list[str]:
    """What docs/deployment.md tells Redis of a user, behind its password."""
    line = next(line for line in RIGHTS.splitlines() if line.startswith(f"ACL SETUSER {name} "))
    return line.partition(" >PASSWORD ")[2].split()


@pytest.fixture
def secured(redis_server: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> Iterator[Endpoints]:
    """A Redis whose default user may do nothing, behind TLS with client certificates."""
    certificates, port = make_certificates(tmp_path / "certificates"), redis_server[1]
    with Redis("127.0.0.1", port) as client:
        for name in ("headrace", "headrace-server"):
            client.execute_command("ACL", "SETUSER", name, "on", f">{PASSWORD}", *rights_of(name))
        client.execute_command("ACL", "SETUSER", "default", "off")
        client.connection_pool.disconnect()
    (tmp_path / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    with tls_in_front(port, certificates) as tls_port:
        security = RedisSecurity(
            ca=str(certificates.path("ca.pem")),
            certificate=str(certificates.path("client.pem")),
            key=str(certificates.path("client.key")),
            username="headrace",
            password_file=str(tmp_path / "password"),
        )
        yield Endpoints(
            kafka="",
            redis=f"127.0.0.1:{tls_port}",
            redis_security=security,
            model_store=str(tmp_path),
            state=str(tmp_path),
        )


def changed(endpoints: Endpoints, **changes: Any) -> Endpoints:
    """The same Redis, reached in another way."""
    assert endpoints.redis_security is not None
    return endpoints.model_copy(update={"redis_security": endpoints.redis_security.model_copy(update=changes)})


def write_a_row(endpoints: Endpoints) -> None:
    """Claim the store and write a user's counters, as the ingester does."""
    with Redis(**redis_settings(endpoints.redis_server), socket_timeout=5) as client:
        writer = OnlineWriter(client, FeastRows(feast_project(APP)), APP.name, 2000, "c", now_ms=lambda: NOW_MS)
        assert writer.try_claim() is not None
        writer.write_rows([decoded("user_activity", "ann", counter_value("ann", 3.0))], {"t:0": 1})
        writer.release()


async def test_the_ingester_writes_and_the_server_reads(secured: Endpoints) -> None:
    """Each with the rights that the docs give it."""
    write_a_row(secured)
    rows = RedisUserRows(changed(secured, username="headrace-server"), APP)
    row, consumed = await rows.read("ann")
    assert (row["user_counters"] is not None, consumed) == (True, {"item-1", "item-2"})
    rows.close()


async def test_the_server_s_login_may_not_write(secured: Endpoints) -> None:
    """Whoever gets into a server gets no further."""
    async with AsyncRedis(**redis_settings(changed(secured, username="headrace-server").redis_server)) as client:
        with pytest.raises(Exception, match=r"(?i)no permissions|NOPERM"):
            await client.zadd(consumed_key(APP.name, "ann"), {"item-3": 3})


def test_feast_reads_with_the_same_login(secured: Endpoints) -> None:
    """A password with commas and quotes survives Feast's connection string."""
    store = open_store(secured, APP)
    apply_features(store, APP.features)
    write_a_row(secured)

    def counters() -> Any:
        with contextlib.suppress(RedisError):  # Feast gives up after a second, which a busy machine may need.
            entities = [{"user_id": "ann"}]
            told = store.get_online_features(features=["user_activity:user_counters"], entity_rows=entities)
            return told.to_dict()["user_counters"][0]

    assert wait_for(counters, "Feast's answer")


def test_the_exporter_may_ask_for_figures(secured: Endpoints) -> None:
    """Prometheus hears that Redis is up."""
    told = {family.name: family.samples[0].value for family in RedisMetrics(secured.redis_server).collect()}
    assert told["headrace_redis_up"] == 1


async def test_a_login_that_is_refused_is_no_connection(secured: Endpoints, tmp_path: Path) -> None:
    """The server answers without features then; a password that was rotated is read at the next try."""
    (tmp_path / "password").write_text("wrong", encoding="utf-8")
    rows = RedisUserRows(secured, APP)
    with pytest.raises(ConnectionError, match="Redis refused the login"):
        await rows.read("ann")
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")
    assert (await rows.read("ann"))[1] == {"item-1", "item-2"}
    (tmp_path / "password").unlink()
    rows.close()
    with pytest.raises(OSError, match="password"):
        await rows.read("ann")


async def test_a_stranger_s_certificate_is_not_trusted(secured: Endpoints, tmp_path: Path) -> None:
    """Neither by the server nor by what writes; without a certificate of its own nobody gets in."""
    other = changed(secured, ca=str(make_certificates(tmp_path / "strangers").path("ca.pem")))
    for endpoints in (other, changed(secured, certificate="", key="")):
        rows = RedisUserRows(endpoints, APP)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await rows.read("ann")
        with Redis(**redis_settings(endpoints.redis_server)) as client, pytest.raises(RedisConnectionError):
            client.ping()


def test_a_password_that_cannot_be_read_is_one_sentence(secured: Endpoints, tmp_path: Path) -> None:
    """Of `features apply`, which ends; what waits for Redis tries again."""
    (tmp_path / "password").unlink()
    with pytest.raises(ConfigError, match=r"cannot read redis_security\.password_file"):
        open_store(secured, APP)
    with (
        Redis(**redis_settings(secured.redis_server)) as client,
        pytest.raises(RedisConnectionError, match="mend or mount it"),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"certificate": "/own.pem"}, "belong together"), ({"username": "me"}, "needs a password_file")],
)
def test_half_a_login_is_refused(fields: dict[str, str], said: str) -> None:
    """With what is missing."""
    with pytest.raises(ValidationError, match=said):
        RedisSecurity(**fields)


def test_no_secret_is_told() -> None:
    """The endpoints file names files."""
    assert "password" not in repr(RedisSecurity(password_file="/run/secret")).replace("password_file", "")
