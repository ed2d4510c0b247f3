"""Fixtures of the serving tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.serving.serving_parts import World


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A small served world without a model yet."""
    made = World(tmp_path)
    yield made
    await made.models.stop()
