"""The progress bar of commands that read files and send events: on stderr, gone once they are done."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def import_progress() -> Progress:
    """Return a progress display; nothing is shown where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    # Not only transient: into a log file even an empty display would write a line.
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)


def every(step: int, call: Callable[[int], object]) -> Callable[[int], None]:
    """Pass on each `step`-th number."""

    def pass_on(number: int) -> None:
        if number % step == 0:
            call(number)

    return pass_on
