"""How every Kafka client of Headrace connects: addresses, TLS, SASL. Written once; the endpoints file says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from features.strict_config import StrictConfig

_STORE = "PEM"


class KafkaSecurity(StrictConfig):
    """What a cluster wants to see of its clients; secrets are named by file, never written here."""

    is_tls: bool = True
    """Whether connections are encrypted."""
    ca: str = ""
    """PEM certificates that prove the brokers; empty: those of the machine."""
    certificate: str = ""
    """PEM file with the client's own certificate chain and its key (PKCS#8, not encrypted), where brokers want one."""
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    """How the client logs in; empty: it does not."""
    username: str = ""
    """Name to log in with."""
    password_file: str = ""
    """File that holds the password, read at every connect. Flink takes it from its JAAS file (docs/deployment.md)."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> KafkaSecurity:
        if bool(self.sasl_mechanism) != bool(self.username and self.password_file):
            raise ValueError(
                f"sasl_mechanism {self.sasl_mechanism!r}, username {self.username!r} and password_file "
                f"{self.password_file!r} belong together; give all three, or none"
            )
        return self

    @property
    def protocol(self) -> str:
        """Kafka's name of the combination."""
        return ("SASL_" if self.sasl_mechanism else "") + ("SSL" if self.is_tls else "PLAINTEXT")


class KafkaServers(str):
    """Bootstrap servers, `host:port[,host:port]`, that know how they are reached."""

    security: KafkaSecurity | None

    def __new__(cls, servers: str, security: KafkaSecurity | None = None) -> KafkaServers:
        """Return `servers` with their security; none is plain text."""
        made = super().__new__(cls, servers)
        made.security = security
        return made


def kafka_settings(servers: str) -> dict[str, Any]:
    """Return the settings of a kafka-python client by which it reaches `servers`.

    Args:
        servers: `host:port[,host:port]`; plain text where they are no `KafkaServers`.

    Raises:
        KafkaConfigurationError: the password cannot be read.
    """
    settings: dict[str, Any] = {"bootstrap_servers": servers.split(",")}
    security = getattr(servers, "security", None)
    if not isinstance(security, KafkaSecurity):
        return settings
    settings["security_protocol"] = security.protocol
    if security.is_tls:
        settings |= {"ssl_cafile": security.ca or None, "ssl_certfile": security.certificate or None}
    if security.sasl_mechanism:
        settings |= {
            "sasl_mechanism": security.sasl_mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": _password(security.password_file),
        }
    return settings


def partitions_of(consumer: Any, topic: str, timeout_s: float = 10.0) -> list[int]:
    """Return the partitions of a topic in their order; none where there is no such topic.

    `partitions_for_topic` of kafka-python 3.0.12 does the same, and waits for ever for a broker that fell silent.

    Raises:
        KafkaTimeoutError: the broker does not say it in time.
    """
    cluster = consumer._cluster  # noqa: SLF001 (no public way to ask with a limit)
    if cluster.partitions_for_topic(topic) is None:
        wanted, cluster.need_all_topic_metadata = cluster.need_all_topic_metadata, True
        try:
            consumer._net.run(consumer._manager.wait_for, cluster.request_update(), 1000.0 * timeout_s)  # noqa: SLF001
        finally:
            cluster.need_all_topic_metadata = wanted
    return sorted(cluster.partitions_for_topic(topic) or ())


def flink_properties(servers: str) -> dict[str, str]:
    """Return the options of a Flink table by which its connector reaches `servers`; no secret is among them.

    The login itself comes from the JAAS file of Flink's JVMs: options of tables are kept beside every job.
    """
    properties = {"properties.bootstrap.servers": str(servers)}
    security = getattr(servers, "security", None)
    if not isinstance(security, KafkaSecurity):
        return properties
    properties["properties.security.protocol"] = security.protocol
    if security.is_tls and security.ca:
        properties |= {"properties.ssl.truststore.type": _STORE, "properties.ssl.truststore.location": security.ca}
    if security.is_tls and security.certificate:
        properties |= {"properties.ssl.keystore.type": _STORE, "properties.ssl.keystore.location": security.certificate}
    if security.sasl_mechanism:
        properties["properties.sasl.mechanism"] = security.sasl_mechanism
    return properties


def _password(path: str) -> str:
    """Return what a file holds; a part that waits for Kafka waits for it, too."""
    from kafka.errors import KafkaConfigurationError  # Here: the configuration is read without Kafka's client.

    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaConfigurationError(f"cannot read kafka_security.password_file {path}; mend or mount it") from error
