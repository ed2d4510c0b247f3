"""The local stack with a Kafka that wants TLS and a login, and lets each part do only what it must.

The broker listens on a port of TLS and SCRAM-SHA-512 beside its own, over which it talks to its controller; every part
is handed an endpoints file with its own name and password. What the names may do stands in `RIGHTS`.
`python -m tests.faults.secured_kafka --endpoints FILE` writes the rights down; a part of the stack does so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from compose.config import StackConfig
from compose.headrace_parts import all_parts
from compose.part import CommandBuilder, Part, StackLayout, python_module
from features.config import Endpoints, load_endpoints
from features.kafka_connection import KafkaSecurity
from tests.serving.secure_parts import make_certificates

LISTENER, MECHANISM = "secure", "SCRAM-SHA-512"
_FLINK_LOGIN = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"
_ALL = "headrace."
_FEATURES, _EVENTS = "headrace.features.", ("headrace.events.v1", "headrace.items.v1")


class Right(NamedTuple):
    """What a name may do with everything that begins with a prefix."""

    operation: str
    prefix: str
    kind: str = "TOPIC"


def _of(operation: str, *prefixes: str) -> list[Right]:
    return [Right(operation, prefix) for prefix in prefixes]


RIGHTS: dict[str, list[Right]] = {
    "app": _of("WRITE", *_EVENTS),
    "topics": [*_of("DESCRIBE", _ALL), *_of("CREATE", _ALL)],
    "jobs": [
        *_of("READ", "headrace.events.v1", "headrace.events.backfill.v1", "headrace.items.v1", "headrace.served.v1"),
        *_of("READ", _FEATURES),
        *_of("WRITE", _FEATURES, "headrace.samples.v1", "headrace.events.dlq.v1"),
        Right("READ", "headrace-", "GROUP"),
    ],
    "ingester": _of("READ", _FEATURES),
    "quality": [
        *_of("READ", "headrace.events.", "headrace.control.v1", "headrace.quality.v1"),
        *_of("WRITE", "headrace.quality.v1"),
    ],
    "trainer": [
        *_of("READ", "headrace.samples.v1", "headrace.items.v1", "headrace.quality.v1", "headrace.control.v1"),
        *_of("READ", "headrace.deltas.v1", "headrace.models.v1"),
        *_of("WRITE", "headrace.deltas.v1", "headrace.models.v1"),
        *_of("DELETE", "headrace.deltas.v1"),
        Right("WRITE", "headrace-", "TRANSACTIONAL_ID"),
    ],
    "server": [
        *_of("READ", _FEATURES, "headrace.items.v1", "headrace.models.v1", "headrace.deltas.v1", "headrace.control.v1"),
        *_of("WRITE", "headrace.served.v1", "headrace.control.v1"),
    ],
    "exporter": [*_of("READ", _ALL), Right("DESCRIBE", "headrace-", "GROUP")],
    "ops": [*_of("READ", _ALL), Right("DESCRIBE", "headrace-", "GROUP")],
}
"""Reading and writing bring the right to see a topic with them."""
PARTS = ("topics", "jobs", "ingester", "quality", "trainer", "exporter", "server")
_FLINK = ("jobmanager", "taskmanager-1", "jobs")
"""JVMs of Flink, which log in as the jobs."""


def secured_parts(folder: Path) -> list[Part]:
    """Return the parts that take the place of the stack's own; certificates and passwords go to `folder`."""
    certificates = make_certificates(folder / "tls")
    chain = folder / "tls" / "broker.pem"
    chain.write_text(certificates.path("server.key").read_text() + certificates.path("server.pem").read_text())
    shutil.copy(certificates.path("ca.pem"), folder / "ca.pem")
    for name in RIGHTS:
        (folder / f"{name}.password").write_text(f"{name}-s3cr3t\n")
    (folder / "jaas.conf").write_text(
        f'KafkaClient {{\n  {_FLINK_LOGIN} required\n  username="jobs" password="jobs-s3cr3t";\n}};\n'
    )
    known = {part.name: part for part in all_parts(StackConfig(taskmanagers=1))}
    kafka = replace(known["kafka"], command=_with_listener(known["kafka"].command, chain))
    rights = Part("rights", python_module("tests.faults.secured_kafka"), needs=("kafka",))
    return [kafka, rights, *(_logged_in(known[name], folder) for name in dict.fromkeys((*PARTS, *_FLINK)))]


def endpoints_of(name: str, endpoints: Endpoints, address: str, folder: Path) -> Endpoints:
    """Return the endpoints as somebody who logs in sees them."""
    security = KafkaSecurity(
        ca=str(folder / "ca.pem"),
        sasl_mechanism=MECHANISM,
        username=name,
        password_file=str(folder / f"{name}.password"),
    )
    return endpoints.model_copy(update={"kafka": address, "kafka_security": security})


def _with_listener(command: CommandBuilder, chain: Path) -> CommandBuilder:
    """Add the secured listener and the rights to the broker's settings, and its users to its first start."""

    def build(layout: StackLayout) -> Sequence[str]:
        words = list(command(layout))
        listeners = f"PLAINTEXT://{layout.address('kafka')},{LISTENER}://{layout.address('kafka_secure')}"
        controller = f"CONTROLLER://{layout.address('kafka_controller')}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        settings = {
            "listeners": f"{listeners},{controller}",
            "advertised.listeners": f"{listeners},{controller}",
            "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{LISTENER}:SASL_SSL",
            f"listener.name.{LISTENER}.sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.{LISTENER}.{MECHANISM.lower()}.sasl.jaas.config": login,
            f"listener.name.{LISTENER}.ssl.keystore.type": "PEM",
            f"listener.name.{LISTENER}.ssl.keystore.location": chain,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:ANONYMOUS",  # The broker itself, over its own port.
        }
        with (layout.state_dir / "kafka" / "server.properties").open("a", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in settings.items())
        users = " ".join(f"--add-scram '{MECHANISM}=[name={name},password={name}-s3cr3t]'" for name in RIGHTS)
        return [word.replace(" format --standalone", f" format --standalone {users}") for word in words]

    return build


def _logged_in(part: Part, folder: Path) -> Part:
    """Hand a part endpoints with its own login, and a JVM of Flink the file that it takes it from."""

    def own(command: CommandBuilder) -> CommandBuilder:
        def build(layout: StackLayout) -> Sequence[str]:
            path = layout.state_dir / f"endpoints-of-{part.name}.json"
            address = layout.address("kafka_secure")
            path.write_text(endpoints_of(part.name, layout.endpoints, address, folder).model_dump_json(indent=2))
            return [str(path) if word == str(layout.endpoints_path) else word for word in command(layout)]

        return build

    def environment(state_dir: Path) -> dict[str, str]:
        java = f"-Djava.security.auth.login.config={folder / 'jaas.conf'}"
        return {**part.environment(state_dir), "JAVA_TOOL_OPTIONS": java}

    if part.name not in PARTS:
        return replace(part, environment=environment)
    again = part.repeat_command and own(part.repeat_command)
    changed = replace(part, command=own(part.command), repeat_command=again, needs=(*part.needs, "rights"))
    return replace(changed, environment=environment) if part.name in _FLINK else changed


def write_rights(kafka: str) -> None:
    """Write all rights down, over the broker's own port."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    acls = [
        ACL(
            f"User:{name}",
            "*",
            ACLOperation[right.operation],
            ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType[right.kind], right.prefix, ACLResourcePatternType.PREFIXED),
        )
        for name, rights in RIGHTS.items()
        for right in rights
    ]
    failed = admin.create_acls(acls)["failed"]
    admin.close()
    if failed:
        raise RuntimeError(f"the broker takes no such rights: {failed}")


def main() -> int:
    """Be a step of the stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--endpoints", type=Path, required=True)
    write_rights(load_endpoints(parser.parse_args().endpoints).kafka)
    return 0


if __name__ == "__main__":
    sys.exit(main())
