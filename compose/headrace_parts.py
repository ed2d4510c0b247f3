"""Our own parts, and the whole stack as one list."""

from __future__ import annotations

from collections.abc import Sequence

from compose.config import StackConfig
from compose.flink_cluster import flink_environment, jobmanager_part, taskmanager_parts
from compose.kafka_broker import kafka_part
from compose.part import LogTail, Part, StackLayout, python_module, said_ready
from compose.probes import grpc_serving
from compose.redis_server import redis_part


def all_parts(stack: StackConfig) -> list[Part]:
    """Return every part of the local stack, servers before what needs them."""
    taskmanagers = taskmanager_parts(stack.taskmanagers)
    return [
        kafka_part(),
        redis_part(),
        jobmanager_part(),
        *taskmanagers,
        Part("topics", python_module("compose.topics"), needs=("kafka",)),
        Part("features-apply", python_module("features.apply"), needs=("redis",)),
        Part(
            "jobs",
            _jobs_command,
            needs=("topics", "jobmanager", taskmanagers[0].name),
            environment=flink_environment,
            repeat_after="jobmanager",
            repeat_command=_jobs_again_command,
        ),
        Part("ingester", python_module("features"), probe=said_ready, needs=("topics", "features-apply")),
        Part("quality", python_module("features.quality"), probe=said_ready, needs=("topics",)),
        Part("trainer", python_module("trainer"), probe=said_ready, needs=("topics",)),
        Part("exporter", python_module("compose.exporter"), probe=said_ready),
        Part("server", _server_command, probe=_server_is_ready, needs=("topics", "features-apply")),
        Part("dashboard", python_module("compose.dashboard"), probe=said_ready, needs=("topics",)),
    ]


def extra_server_part(name: str, arguments: Sequence[str]) -> Part:
    """Return a second Recommender beside the stack's own, at a port of its own and without ModelAdmin.

    Its address is `LocalStack.address_of(name)`. `headrace demo --compare` runs one with its model frozen.
    """

    def command(layout: StackLayout) -> Sequence[str]:
        without = {"admin": "", "dashboard": "", "metrics": {}}
        endpoints = layout.endpoints.model_copy(update={"serving": layout.address(name), **without})
        path = layout.state_dir / f"endpoints-{name}.json"
        path.write_text(endpoints.model_dump_json(indent=2), encoding="utf-8")
        return python_module("serving", "--name", name, *arguments, endpoints=path)(layout)

    def is_ready(layout: StackLayout, _log: LogTail) -> bool:
        return grpc_serving(layout.address(name), tls=layout.serving_tls)

    return Part(name, command, probe=is_ready, needs=("topics", "features-apply"))


def _jobs_command(layout: StackLayout) -> Sequence[str]:
    """Start each job from its newest checkpoint; what to do where it is of another plan was said to `headrace up`."""
    return python_module("streams", "--restore", "--changed-jobs", layout.changed_jobs)(layout)


def _jobs_again_command(layout: StackLayout) -> Sequence[str]:
    """Start the jobs as they ran: a file that was edited meanwhile takes effect when somebody says so."""
    return python_module("streams", "--restore", "--changed-jobs", "keep")(layout)


def _server_command(layout: StackLayout) -> Sequence[str]:
    return python_module("serving", "--admin-address", layout.address("admin"))(layout)


def _server_is_ready(layout: StackLayout, log: LogTail) -> bool:
    return said_ready(layout, log) and grpc_serving(layout.address("serving"), tls=layout.serving_tls)
