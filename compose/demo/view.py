"""What the terminal shows while the demo runs: a live panel, or a plain line now and then without a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from compose.demo.replay import LAG_SAID_FROM_S

LINE_EVERY_S = 5.0
"""Between two plain lines."""
Times = Mapping[str, float | None]


@dataclass(frozen=True)
class Snapshot:
    """The figures of one moment."""

    elapsed_s: float
    events_done: int
    events_planned: int
    events_per_s: float
    hit_rate: float
    popularity_hit_rate: float
    scored: int
    coverage: float
    model_version: str
    swaps: int
    event_to_feature_ms: Times
    event_to_served_ms: Times
    recommend_ms: Times
    failed_requests: int
    retried_requests: int
    visitor_lists: int
    visitor_clicks: int
    behind_s: float
    stage_lags: Mapping[str, int] = field(default_factory=dict)
    """Records waiting in front of each stage."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    notice: str = ""


class DemoView:
    """Shows progress of the start, then the live figures.

    Args:
        console: where to write.
        is_quiet: show nothing.
    """

    def __init__(self, console: Console, is_quiet: bool = False) -> None:
        self._console = console
        self._is_quiet = is_quiet
        self._live: Live | None = None
        self._last_line_s = 0.0

    def __enter__(self) -> DemoView:
        if self._console.is_terminal and not self._is_quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Write one line that stays."""
        if not self._is_quiet:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, snapshot: Snapshot) -> None:
        """Show the figures of now."""
        if self._live is not None:
            self._live.update(panel(snapshot), refresh=True)
        elif not self._is_quiet and snapshot.elapsed_s - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = snapshot.elapsed_s
            self.say(plain_line(snapshot))


def plain_line(now: Snapshot) -> str:
    """Return the figures as one log line."""
    parts = [
        f"{now.elapsed_s:5.0f} s",
        f"{now.events_done:,}/{now.events_planned:,} events, {now.events_per_s:.0f}/s",
        f"HR@10 {now.hit_rate:.3f} (popularity {now.popularity_hit_rate:.3f})",
        f"coverage {100 * now.coverage:.0f} %",
        f"model {now.model_version or 'none yet'}, {now.swaps} swaps",
        f"event→feature {_short(now.event_to_feature_ms)}",
        f"event→served {_short(now.event_to_served_ms)}",
        f"Recommend {_short(now.recommend_ms)}",
        f"waiting {_lags(now.stage_lags)}",
    ]
    return " | ".join([*parts, *_warnings(now)])


def panel(now: Snapshot) -> Panel:
    """Return the live panel."""
    grid = Table.grid(padding=(0, 3))
    for _ in range(4):
        grid.add_column()
    grid.add_row(
        "HR@10", Text(f"{now.hit_rate:.4f}", style="bold green"), "event → feature", _long(now.event_to_feature_ms)
    )
    grid.add_row(
        "decayed popularity", f"{now.popularity_hit_rate:.4f}", "event → served weights", _long(now.event_to_served_ms)
    )
    grid.add_row("scored positives", f"{now.scored:,}", "Recommend", _long(now.recommend_ms))
    grid.add_row(
        "coverage",
        f"{100 * now.coverage:.1f} %",
        "model version",
        f"{now.model_version or 'none yet'}  ({now.swaps} swaps)",
    )
    grid.add_row(
        "visitors",
        f"{now.visitor_lists:,} lists, {now.visitor_clicks:,} clicks",
        "waiting per stage",
        _lags(now.stage_lags),
    )
    bar = ProgressBar(total=max(1, now.events_planned), completed=now.events_done, width=60)
    head = Text(
        f"{now.events_done:,} of {now.events_planned:,} events   {now.events_per_s:.0f}/s   {now.elapsed_s:.0f} s"
    )
    warnings = [Text(line, style="yellow") for line in _warnings(now)]
    return Panel(Group(head, bar, Text(), grid, *warnings), title="headrace demo", title_align="left", width=100)


def _warnings(now: Snapshot) -> list[str]:
    lines = []
    if now.behind_s >= LAG_SAID_FROM_S:
        lines.append(f"the stack is slower than the users: they act {now.behind_s:.1f} s late")
    if now.failed_requests or now.retried_requests:
        lines.append(f"requests: {now.failed_requests} failed, {now.retried_requests} tried again")
    restarted = [f"{part} {count}" for part, count in now.restarts.items() if count]
    if restarted:
        lines.append(f"restarts: {', '.join(restarted)}")
    return [*lines, now.notice] if now.notice else lines


def _lags(lags: Mapping[str, int]) -> str:
    return ", ".join(f"{stage} {count:,}" for stage, count in lags.items()) or "nothing known yet"


def _short(times: Times) -> str:
    return "-" if times["p50"] is None else f"{times['p50']:.0f}/{times['p99']:.0f} ms"


def _long(times: Times) -> str:
    return "-" if times["p50"] is None else f"p50 {times['p50']:,.0f} ms   p99 {times['p99']:,.0f} ms"
