"""The bar of a job that is built anew."""

from __future__ import annotations

import io

from rich.console import Console

from compose.upgrade_progress import upgrade_progress


def test_a_bar_tells_how_far_the_job_has_read() -> None:
    """From the first figure on; a command that builds nothing shows none."""
    shown, nothing = io.StringIO(), io.StringIO()
    with upgrade_progress(Console(file=shown, force_terminal=True, width=100)) as show:
        show(3, 7)
    with upgrade_progress(Console(file=nothing, force_terminal=True, width=100)):
        pass
    assert all(text in shown.getvalue() for text in ("records read by the new job", "3/7"))
    assert "records" not in nothing.getvalue()
