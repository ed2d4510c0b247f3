"""What Kafka clients and Flink's connector are told of a cluster that wants TLS and a login."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConfigurationError
from pydantic import ValidationError

from features.config import Endpoints
from features.kafka_connection import KafkaSecurity, KafkaServers, flink_properties, kafka_settings
from streams.kafka_tables import items_table

ROOT = Path(__file__).parents[2]
CLIENTS = {"KafkaConsumer", "KafkaProducer", "KafkaAdminClient", "FeatureConsumer"}
OWN_SETTINGS = {
    "compose/client/headrace_client/producer.py",
    "compose/demo/topic_reader.py",
    "trainer/version_topics.py",
}
"""The client package takes settings, as it has no endpoints file; the demo starts its own broker; the last one keeps
`kafka_settings` in an attribute."""


def secured(directory: Path) -> KafkaServers:
    """Return servers that want everything."""
    (directory / "password").write_text("hidden\n")
    security = KafkaSecurity(
        ca="/ca.pem",
        certificate="/own.pem",
        sasl_mechanism="SCRAM-SHA-512",
        username="headrace",
        password_file=str(directory / "password"),
    )
    return Endpoints(kafka="a:1,b:2", kafka_security=security, redis="", model_store="", state="").kafka_servers


def test_clients_get_addresses_certificates_and_login(tmp_path: Path) -> None:
    """kafka-python knows every setting by this name."""
    settings = kafka_settings(secured(tmp_path))
    assert settings == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "/ca.pem",
        "ssl_certfile": "/own.pem",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "headrace",
        "sasl_plain_password": "hidden",
    }
    assert settings.keys() <= KafkaConsumer.DEFAULT_CONFIG.keys()


def test_flink_gets_no_secret(tmp_path: Path) -> None:
    """Options of tables are kept in the state directory beside every job, so the login must come from elsewhere."""
    statement = items_table(secured(tmp_path), "group")
    assert "'properties.security.protocol' = 'SASL_SSL'" in statement
    assert "'properties.ssl.keystore.location' = '/own.pem'" in statement
    assert "hidden" not in statement


def test_plain_servers_are_told_as_before() -> None:
    """Without security nothing changes: compiled plans of running jobs stay what they are."""
    assert kafka_settings("a:1") == {"bootstrap_servers": ["a:1"]}
    assert flink_properties(KafkaServers("a:1")) == {"properties.bootstrap.servers": "a:1"}


def test_half_a_login_is_refused() -> None:
    """A forgotten password file must not become a connection without login."""
    with pytest.raises(ValidationError, match="belong together"):
        KafkaSecurity(sasl_mechanism="PLAIN", username="headrace")


def test_an_unreadable_password_is_an_error_of_kafka(tmp_path: Path) -> None:
    """Parts wait for Kafka in any case, and say once what is missing."""
    servers = secured(tmp_path)
    (tmp_path / "password").unlink()
    with pytest.raises(KafkaConfigurationError, match="password_file"):
        kafka_settings(servers)


def _clients_without_settings(path: Path) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in CLIENTS]
    return [call.lineno for call in made if "kafka_settings(" not in ast.unparse(call)]


def test_every_client_connects_as_the_endpoints_say() -> None:
    """A client made by hand would fail on the first cluster that wants a login."""
    files = [
        path
        for part in ("features", "trainer", "serving", "streams", "compose")
        for path in (ROOT / part).rglob("*.py")
    ]
    found = {str(path.relative_to(ROOT)): _clients_without_settings(path) for path in files}
    assert {name for name, lines in found.items() if lines} <= OWN_SETTINGS
