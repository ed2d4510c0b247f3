"""One stack for all tests of the oracle: every part, and a configuration with every kind of declared feature."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from compose.local_stack import LocalStack
from tests.oracle.checker import Oracle
from tests.oracle.oracle_stack import OracleStack, write_config
from tests.running_stack import ROOT


@pytest.fixture(scope="package")
def oracle_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleStack]:
    """The stack; seeds have namespaces of their own, so that it serves them all."""
    for needed in (ROOT / ".jars" / "kafka", ROOT / ".jars" / "flink"):
        if not needed.is_dir():
            pytest.skip(f"{needed.relative_to(ROOT)} is missing; run `make setup`")
    folder = tmp_path_factory.mktemp("oracle")
    config = write_config(folder)
    with LocalStack(config, folder / "state") as local:
        yield OracleStack(local, config, yaml.safe_load(config.read_text(encoding="utf-8")), local.start())


@pytest.fixture(scope="package")
def oracle(oracle_stack: OracleStack) -> Iterator[Oracle]:
    """Follows the stack's topics from their beginning."""
    follower = Oracle(oracle_stack)
    yield follower
    follower.close()
