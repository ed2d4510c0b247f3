"""Apache Kafka in KRaft mode, one node, broker and controller in one process."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.jars import class_path
from compose.java_runtime import java_home
from compose.part import LogTail, Part, StackLayout
from compose.probes import kafka_answers

_CLUSTER_ID = "headrace-local-stack-A"  # 22 characters of base64, as Kafka wants an id.


def kafka_part() -> Part:
    """Return the broker."""
    return Part("kafka", _command, probe=_is_ready)


def _is_ready(layout: StackLayout, _log: LogTail) -> bool:
    return kafka_answers(layout.port("kafka"))


def _command(layout: StackLayout) -> Sequence[str]:
    folder = layout.state_dir / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(server_properties(layout), encoding="utf-8")
    java = [str(java_home() / "bin" / "java"), "-cp", os.pathsep.join(map(str, class_path("kafka")))]
    logging = ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
    logging += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    heap = f"-Xmx{layout.stack.kafka_heap_mb}m"
    quick = ["-XX:TieredStopAtLevel=1"] if layout.stack.jvm_compiler == "quick" else []
    serve = [*java, *quick, "-Xms256m", heap, "-XX:+ExitOnOutOfMemoryError", *logging, "kafka.Kafka", str(properties)]
    if _is_formatted(folder):
        return serve
    storage = [*java, "-XX:TieredStopAtLevel=1", *logging, "kafka.tools.StorageTool"]
    storage += ["format", "--standalone", "-t", _CLUSTER_ID, "-c", str(properties)]
    # One process id for both: the shell becomes the broker.
    return ["/bin/sh", "-c", f"{shlex.join(storage)} && exec {shlex.join(serve)}"]


def _is_formatted(folder: Path) -> bool:
    return (folder / "data" / "meta.properties").exists()


def server_properties(layout: StackLayout) -> str:
    """Return the broker's settings for one node on this machine."""
    kafka, controller = layout.address("kafka"), layout.address("kafka_controller")
    further = {name: layout.address(f"kafka_{name}") for name in sorted(layout.stack.kafka_listeners)}
    listeners = {"PLAINTEXT": kafka, **further, "CONTROLLER": controller}
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": controller,
        "controller.listener.names": "CONTROLLER",
        "listeners": _named(listeners),
        "advertised.listeners": _named(listeners | layout.stack.kafka_listeners),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
        "log.dirs": layout.state_dir / "kafka" / "data",
        # Topics are created by command, with their own limits; the time of a record is the broker's.
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "message.max.bytes": 1024 * 1024,
        # One node: every internal topic has one replica and few partitions, which also makes the first start quick.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # 2 cores.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _named(addresses: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in addresses.items())
