"""How long each kind of state is kept after its last write."""

from __future__ import annotations

from features.config import AppConfig
from features.label_config import Labels
from streams.compiled_plan import StateRule
from streams.counters import longest_epoch_ms

_HOUR_MS = 3_600_000
_FOREVER, _FOREVER_FROM_MS = 0, 366 * 24 * _HOUR_MS
"""Flink's word for "kept", and from which retention on: with one, each access looks at five other keys for what
expired, a tenth of the feature job, and a job that lives for a year would have nothing to find."""

_EVENT_IDS = StateRule("stream-exec-process-table-function", r"FIRST_EVENTS", (_FOREVER,))
"""Forgets each id by itself, `event_window_ms` after it came: retention would be that of a whole bucket."""


def feature_rules(app: AppConfig) -> list[StateRule]:
    """Return the rules of the feature job."""
    window_ms = event_window_ms(app)
    return [
        _EVENT_IDS,
        StateRule("stream-exec-deduplicate", r"keep=\[FirstRow\], key=\[request_id\]", (window_ms,)),
        StateRule("stream-exec-join", r"request_id = request_id0", (window_ms, window_ms)),
        StateRule("stream-exec-process-table-function", r"CATEGORIZE_EVENTS", (window_ms,)),
        StateRule("stream-exec-group-aggregate", r"groupBy=\[", (entity_window_ms(app),)),
    ]


def sample_rules(app: AppConfig, labels: Labels) -> list[StateRule]:
    """Return the rules of the sample job; what waits for its window (streams/delays.py) forgets itself."""
    window_ms, longest_ms = event_window_ms(app), sample_memory_ms(app, labels)
    # Twice the horizon: whether feedback comes too late is decided by broker times, never by what was forgotten.
    lists_ms = 2 * labels.horizon_ms
    return [
        _EVENT_IDS,
        StateRule("stream-exec-deduplicate", r"key=\[event_id\]", (window_ms,)),
        StateRule("stream-exec-deduplicate", r"key=\[request_id\]", (longest_ms,)),
        StateRule("stream-exec-join", r"request_id = request_id0", (lists_ms, lists_ms)),
        StateRule("stream-exec-over-aggregate", r"partitionBy=\[request_id\]", (lists_ms, lists_ms)),
    ]


def sample_memory_ms(app: AppConfig, labels: Labels) -> int:
    """Return how long the sample job remembers anything at all: a record older than that changes no sample to come."""
    return max(event_window_ms(app), 2 * labels.horizon_ms)


def event_window_ms(app: AppConfig) -> int:
    """Return how long single events are remembered: twice the horizon, so that no clock's error matters."""
    return round(2 * app.features.horizon_h * _HOUR_MS)


def entity_window_ms(app: AppConfig) -> int:
    """Return how long a silent user or item is remembered: as the app says, or until nothing is left of it.

    That is two of the longest epochs; 0 is for ever, in place of more than a year.
    """
    if app.features.forget_after_days is not None:
        return round(24 * app.features.forget_after_days * _HOUR_MS)
    window_ms = 2 * longest_epoch_ms(app)
    return window_ms if window_ms < _FOREVER_FROM_MS else _FOREVER
