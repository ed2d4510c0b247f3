"""Fixtures of the tests around the stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compose.local_stack import LocalStack
from tests.running_stack import ROOT, RunningStack


@pytest.fixture(scope="session")
def kafka_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A real broker with our topics and nothing else: ready in seconds."""
    if not (ROOT / ".jars" / "kafka").is_dir():
        pytest.skip(".jars/kafka is missing; run `make setup`")
    config_path = ROOT / "headrace.yaml"
    with LocalStack(config_path, tmp_path_factory.mktemp("kafka") / "state", parts=["kafka", "topics"]) as local:
        yield RunningStack(local, config_path, local.start())
