"""Curves as one self-contained file: HTML or SVG without a script, a font or a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from trainer.evaluation.errors import EvaluationError
from trainer.evaluation.outcome import Outcome

KINDS = (".html", ".svg")
PANELS = (
    ("hr@10", "HR@10, organic"),
    ("candidate_recall", "Candidate recall"),
    ("settled_gauc", "AUC per shown list"),
    ("labelled_auc", "AUC, labelled events"),
    ("labelled_logloss", "Logloss, labelled events"),
)
"""Metric -> title; a panel is drawn where a method has the metric."""
COLOURS = ("#0b6e99", "#c05621", "#4d7c0f", "#7c3aed", "#b91c1c", "#525252", "#a16207")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1040, 260, 64, 190, 34, 34
_TICKS = 4


@dataclass(frozen=True)
class Curve:
    """One method's metric along the stream."""

    name: str
    points: list[tuple[int, float]]
    """(events so far, value)"""


@dataclass(frozen=True)
class Panel:
    """One metric of all methods."""

    title: str
    curves: list[Curve]


def check_picture(path: Path) -> None:
    """Say before the work begins whether a picture can be written there.

    Raises:
        EvaluationError: the ending is unknown.
    """
    if path.suffix.lower() not in KINDS:
        raise EvaluationError(
            f"--picture: {path} ends in {path.suffix!r}; name a file that ends in .html or .svg (PNG is not written: "
            "a browser saves either as an image)"
        )


def write_picture(path: Path, outcomes: Sequence[Outcome], title: str) -> None:
    """Write the curves of all methods.

    Raises:
        EvaluationError: the file cannot be written.
    """
    panels = panels_of(outcomes)
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(svg(panels), encoding="utf-8")
        else:
            path.write_text(_html(svg(panels), title, outcomes[0]), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"--picture: cannot write {path}: {error.strerror}; name another file") from error


def panels_of(outcomes: Sequence[Outcome]) -> list[Panel]:
    """Return the panels that have a curve."""
    panels = []
    for metric, title in PANELS:
        curves = [Curve(outcome.name, _points(outcome, metric)) for outcome in outcomes]
        curves = [curve for curve in curves if curve.points]
        if curves:
            panels.append(Panel(title, curves))
    return panels


def svg(panels: Sequence[Panel]) -> str:
    """Draw the panels below each other."""
    height = max(1, len(panels)) * _HEIGHT
    body = "".join(_panel(panel, index * _HEIGHT) for index, panel in enumerate(panels))
    if not panels:
        body = f'<text x="{_LEFT}" y="40">nothing was scored</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="#333">{body}</svg>'
    )


def _points(outcome: Outcome, metric: str) -> list[tuple[int, float]]:
    return [(point.events, point.values[metric]) for point in outcome.timeline.points if metric in point.values]


def _panel(panel: Panel, offset: int) -> str:
    lows = [value for curve in panel.curves for _, value in curve.points]
    low, high = min(lows), max(lows)
    span = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * span, high + 0.05 * span
    last = max(events for curve in panel.curves for events, _ in curve.points)

    def place(events: float, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * events / max(1, last)
        y = offset + _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)
        return x, y

    parts = [f'<text x="{_LEFT}" y="{offset + 18}" font-weight="bold">{escape(panel.title)}</text>']
    for tick in range(_TICKS + 1):
        value, events = low + (high - low) * tick / _TICKS, last * tick / _TICKS
        _, y = place(0, value)
        x, _ = place(events, low)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{offset + _HEIGHT - 12}" text-anchor="middle">{events:,.0f}</text>')
    for index, curve in enumerate(panel.curves):
        colour = COLOURS[index % len(COLOURS)]
        line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve.points)
        width = 2.2 if index == 0 else 1.2
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        x, y = _WIDTH - _RIGHT + 14, offset + _TOP + 18 * index
        parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{y + 9}">{escape(curve.name)}</text>')
    return "".join(parts)


def _html(drawing: str, title: str, outcome: Outcome) -> str:
    last = outcome.timeline.points[-1].time_ms if outcome.timeline.points else 0
    until = datetime.fromtimestamp(last / 1000.0, UTC).isoformat(timespec="seconds")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f'<body style="font-family:sans-serif;margin:2em"><h1>{escape(title)}</h1>'
        f"<p>{outcome.num_events:,} events up to {until}; each point is about a hundredth of them, predicted before "
        f"they were learnt.</p>{drawing}</body></html>\n"
    )
