"""The streams section of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.config import ConfigError, load_section
from streams.config import StreamsConfig


def test_unknown_settings_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A typo is one sentence, not a default."""
    path = tmp_path / "headrace.yaml"
    path.write_text("streams: {parallelsm: 2}")
    with pytest.raises(ConfigError, match="did you mean 'parallelism'"):
        load_section(path, "streams", StreamsConfig)
