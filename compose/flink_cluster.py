"""The Flink cluster inside the `apache-flink` wheel: one JobManager, and TaskManagers of which one is a standby.

The processes are started without the wheel's scripts: `jobmanager.sh` and `taskmanager.sh` run two more JVMs each, to
rewrite the configuration and to work out memory sizes (4 s of CPU each, measured). Here both are written down.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from compose.errors import NotInstalledError
from compose.java_runtime import java_home
from compose.part import CommandBuilder, LogTail, Part, Probe, StackLayout
from compose.ports import HOST
from compose.probes import flink_taskmanagers, http_json
from features.config import load_section
from streams.config import StreamsConfig

_METASPACE_MB = 256
_FRAMEWORK_HEAP_MB = 128
_DIRECT_MB = 128
_NETWORK_MB = 64
_MANAGED_MB = 64
_OVERHEAD_MB = 128
_QUICK_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For JVMs that coordinate or compile a plan: they never run a loop long enough for the slow compiler to pay."""
_TASKMANAGER_GC = ("-XX:+UseG1GC", "-XX:G1HeapRegionSize=4m", f"-XX:MetaspaceSize={_METASPACE_MB // 2}m")
"""Of state, which fills the old generation, each event replaces some: a collector that stops the process for all of it
did so once a minute, for longer than anything else kept a row waiting. Tables of state, which each checkpoint copies,
must fit a region, and classes alone must not start a collection at all."""
_REGISTERED = "Successful registration at resource manager"

_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} %x - %m%n
# Every client prints its whole configuration at INFO, once per subtask.
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
"""


def jobmanager_part() -> Part:
    """Return the JobManager."""
    return Part("jobmanager", _jobmanager_command, probe=_jobmanager_is_ready, environment=flink_environment)


def taskmanager_parts(count: int) -> list[Part]:
    """Return the TaskManagers `taskmanager-1` … ."""
    names = [f"taskmanager-{number}" for number in range(1, count + 1)]
    return [
        Part(name, _taskmanager_command(name), probe=_is_registered(name), environment=flink_environment)
        for name in names
    ]


def flink_home() -> Path:
    """Return the distribution inside the wheel.

    Raises:
        NotInstalledError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise NotInstalledError("apache-flink is not installed; run `make setup`")
    return Path(spec.origin).parent


def _jobmanager_is_ready(layout: StackLayout, _log: LogTail) -> bool:
    return http_json(layout.port("flink_rest"), "/overview") is not None


def _is_registered(name: str) -> Probe:
    def probe(layout: StackLayout, log: LogTail) -> bool:
        # The JobManager lists a dead predecessor of the same name until its heartbeat times out.
        return _REGISTERED in log.text() and name in flink_taskmanagers(layout.port("flink_rest"))

    return probe


def _jobmanager_command(layout: StackLayout) -> Sequence[str]:
    heap = layout.stack.jobmanager_heap_mb
    jvm = [f"-Xms{heap // 2}m", f"-Xmx{heap}m", f"-XX:MaxMetaspaceSize={_METASPACE_MB}m", *_QUICK_JVM]
    main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    return [*_java(layout), *jvm, main, "--configDir", str(_write_conf(layout)), "--executionMode", "cluster"]


def _taskmanager_command(name: str) -> CommandBuilder:
    def command(layout: StackLayout) -> Sequence[str]:
        heap = layout.stack.taskmanager_heap_mb + _FRAMEWORK_HEAP_MB
        jvm = [f"-Xms{heap // 2}m", f"-Xmx{heap}m", f"-XX:MaxMetaspaceSize={_METASPACE_MB}m", *_TASKMANAGER_GC]
        jvm += [f"-XX:MaxDirectMemorySize={_DIRECT_MB + _NETWORK_MB}m"]
        jvm += ["-XX:TieredStopAtLevel=1"] if layout.stack.jvm_compiler == "quick" else []
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        # A fixed id: a restarted TaskManager takes its predecessor's place at once, not after the heartbeat's timeout.
        named = ["-D", f"taskmanager.resource-id={name}"]
        return [*_java(layout), *jvm, main, "--configDir", str(_write_conf(layout)), *named]

    return command


def _java(layout: StackLayout) -> list[str]:
    """Return the beginning of a Flink command: Java, the shipped list of opened modules, logging and the class path."""
    log4j = f"-Dlog4j.configurationFile=file:{layout.state_dir / 'flink' / 'conf' / 'log4j.properties'}"
    jars = os.pathsep.join(str(jar) for jar in sorted((flink_home() / "lib").glob("*.jar")))
    return [str(java_home() / "bin" / "java"), *_java_options(layout), log4j, "-classpath", jars]


def flink_environment(state_dir: Path) -> dict[str, str]:
    """Return what the wheel's own scripts export; PyFlink's clients and Python workers look these up."""
    home, state = flink_home(), state_dir / "flink"
    return {
        "FLINK_HOME": str(home),
        "FLINK_BIN_DIR": str(home / "bin"),
        "FLINK_LIB_DIR": str(home / "lib"),
        "FLINK_OPT_DIR": str(home / "opt"),
        "FLINK_PLUGINS_DIR": str(home / "plugins"),
        "FLINK_CONF_DIR": str(state / "conf"),
        "FLINK_LOG_DIR": str(state / "log"),
        "FLINK_PID_DIR": str(state / "pid"),
        "JAVA_HOME": str(java_home()),
        "JVM_ARGS": " ".join(_QUICK_JVM),
    }


def _write_conf(layout: StackLayout) -> Path:
    conf = layout.state_dir / "flink" / "conf"
    for folder in (conf, layout.state_dir / "flink" / "checkpoints", layout.state_dir / "flink" / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    (conf / "config.yaml").write_text(yaml.safe_dump(flink_settings(layout)), encoding="utf-8")
    # A client that runs `log4j-cli.properties` finds the same.
    for name in ("log4j.properties", "log4j-cli.properties", "log4j-console.properties"):
        (conf / name).write_text(_LOG4J, encoding="utf-8")
    return conf


def flink_settings(layout: StackLayout) -> dict[str, Any]:
    """Return the cluster's settings; what belongs to a job is set by the job."""
    state = layout.state_dir / "flink"
    heap = layout.stack.taskmanager_heap_mb
    streams = load_section(layout.config_path, "streams", StreamsConfig)
    return {
        "env.java.opts.all": " ".join(_java_options(layout)),
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": layout.port("flink_rest"),
        "jobmanager.bind-host": HOST,
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": layout.port("flink_rpc"),
        "jobmanager.memory.process.size": "768m",
        "jobmanager.execution.failover-strategy": "region",
        "taskmanager.bind-host": HOST,
        "taskmanager.host": HOST,
        "taskmanager.numberOfTaskSlots": layout.stack.task_slots,
        "taskmanager.cpu.cores": float(layout.stack.task_slots),
        "taskmanager.memory.framework.heap.size": f"{_FRAMEWORK_HEAP_MB}m",
        "taskmanager.memory.task.heap.size": f"{heap}m",
        "taskmanager.memory.framework.off-heap.size": f"{_DIRECT_MB}m",
        "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.network.min": f"{_NETWORK_MB}m",
        "taskmanager.memory.network.max": f"{_NETWORK_MB}m",
        "taskmanager.memory.managed.size": f"{_MANAGED_MB}m",
        "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE_MB}m",
        "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD_MB}m",
        "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD_MB}m",
        # Measured: with these a killed TaskManager costs 12.7 s of silence where a standby is registered.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 6000,
        "execution.checkpointing.dir": f"file://{state / 'checkpoints'}",
        # A job that says so is not heard: Flink 2 reads it from the JobManager's settings alone.
        "execution.checkpointing.num-retained": streams.retained_checkpoints,
        "execution.checkpointing.savepoint-dir": f"file://{state / 'savepoints'}",
        "io.tmp.dirs": str(state / "tmp"),
        "web.submit.enable": False,
        "web.cancel.enable": False,
    }


def _java_options(layout: StackLayout) -> list[str]:
    """Return the shipped list of opened modules, and a place for the jars that Flink unpacks (a kill leaves them)."""
    shipped = yaml.safe_load((flink_home() / "conf" / "config.yaml").read_text(encoding="utf-8"))
    return [*shipped["env"]["java"]["opts"]["all"].split(), f"-Djava.io.tmpdir={layout.state_dir / 'flink' / 'tmp'}"]
