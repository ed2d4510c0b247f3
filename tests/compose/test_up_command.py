"""What `headrace up` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import StackError
from compose.up_command import bring_up
from tests.running_stack import ROOT


@pytest.mark.parametrize("name", ["missing/endpoints.json", "."])
def test_endpoints_that_cannot_be_written_are_told_first(tmp_path: Path, name: str) -> None:
    """A minute later, with the stack up, it would be a traceback."""
    wanted = tmp_path / name
    with pytest.raises(StackError, match=r"--endpoints .* cannot be written; name a file in a folder that exists"):
        bring_up(ROOT / "headrace.yaml", tmp_path / "state", "auto", wanted, False, "replay")
    assert not (tmp_path / "state").exists()
