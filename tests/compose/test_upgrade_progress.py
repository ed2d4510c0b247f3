"""The bar of a job that is built anew."""

from __future__ import annotations

import io

from rich.console import Console

from compose.upgrade_progress import upgrade_progress


def test_a_bar_tells_how_far_the_job_has_read() -> None:
    """From the first figure on; a command that builds nothing shows none."""
    shown, nothing = (Console(file=io.StringIO(), force_terminal=True, width=100) for _ in range(2))
    with upgrade_progress(shown) as show:
        show(3, 7)
    with upgrade_progress(nothing):
        pass
    told, silent = (str(console.file.getvalue()) for console in (shown, nothing))
    assert ("records read by the new job" in told, "3/7" in told) == (True, True)
    assert "records" not in silent
