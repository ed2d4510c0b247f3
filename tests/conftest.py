"""Fixtures that tests of several packages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local_stack import LocalStack
from tests.kafka_sockets import close_failed_attempts
from tests.running_stack import ROOT, RunningStack

close_failed_attempts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what kills parts of the shared stack last: a failover takes seconds, and other tests count restarts."""
    items.sort(key=lambda item: item.get_closest_marker("shakes") is not None)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Kafka, Redis, Flink and all our parts, started once for the session on free ports."""
    for needed in (ROOT / ".jars" / "kafka", ROOT / ".jars" / "flink"):
        if not needed.is_dir():
            pytest.skip(f"{needed.relative_to(ROOT)} is missing; run `make setup`")
    config_path = ROOT / "headrace.yaml"
    with LocalStack(config_path, tmp_path_factory.mktemp("stack") / "state") as local:
        yield RunningStack(local, config_path, local.start())


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder `../shared/data`, where this checkout has it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    return folder
