"""What the tests of the quality job share."""

from __future__ import annotations

import pytest

from features.config import AppConfig
from features.quality.config import QualityConfig
from tests.features.quality.quality_world import shipped_app


@pytest.fixture(scope="session")
def app() -> AppConfig:
    """The app of the shipped configuration."""
    return shipped_app()


@pytest.fixture
def config() -> QualityConfig:
    """Shipped rules and small memories."""
    return QualityConfig(event_memory_mb=1, id_memory_mb=1)
