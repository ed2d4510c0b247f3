"""A command that restarts a part ends when the part is ready again, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import PartFailedError
from compose.local_stack import LocalStack
from compose.restarted_parts import end_parts, wait_until_back
from tests.compose.small_stack import ROOT, WAIT_S, server

CONFIG = ROOT / "headrace.yaml"
SLOW = "import signal, time; time.sleep(1.0); print('READY x', flush=True); signal.pause()"


def test_the_command_goes_on_when_the_part_is_ready_again(tmp_path: Path) -> None:
    """Another process, started by the supervisor and ready; the part beside it is left alone."""
    with LocalStack(CONFIG, tmp_path, parts=[], extra_parts=[server("slow", SLOW), server("other")]) as stack:
        stack.start()
        before = {part: stack.pid_of(part) for part in ("slow", "other")}
        ended = end_parts(tmp_path, ("slow", "not-in-this-stack"))
        assert {part: record.pid for part, record in ended.items()} == {"slow": before["slow"]}
        wait_until_back(tmp_path, ended, WAIT_S)
        assert (stack.restarts("slow"), stack.restarts("other")) == (1, 0)
        assert stack.pid_of("slow") != before["slow"]
        assert stack.pid_of("other") == before["other"]
        assert {status.name: status.is_up for status in stack.statuses} == {"slow": True, "other": True}


def test_a_part_that_does_not_come_back_is_named(tmp_path: Path) -> None:
    """One sentence with its log, and the exit code of a part that did not start."""
    with LocalStack(CONFIG, tmp_path, parts=[], extra_parts=[server("slow", SLOW)]) as stack:
        stack.start()
        with pytest.raises(PartFailedError, match=r"slow was ended .* not ready after 0 s.*logs/slow\.log"):
            wait_until_back(tmp_path, end_parts(tmp_path, ("slow",)), 0.0)


def test_nothing_is_waited_for_where_nothing_runs(tmp_path: Path) -> None:
    """Parts in containers are restarted by who runs those."""
    assert end_parts(tmp_path, ("server",)) == {}
    wait_until_back(tmp_path, {}, 0.0)
