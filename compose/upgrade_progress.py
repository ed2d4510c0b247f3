"""How far a job that is built anew has read, as a bar on stderr: for `streams upgrade`, `purge` and `forget`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from compose.streams_upgrade import ShowProgress

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def upgrade_progress(console: Console) -> Iterator[ShowProgress]:
    """Show a bar from the first time that it is told how far the job is, and nothing of it afterwards."""
    with Progress(*_COLUMNS, console=console, transient=True) as progress:
        bar = progress.add_task("records read by the new job", total=None, visible=False)
        yield lambda read, total: progress.update(bar, completed=read, total=total, visible=True)
