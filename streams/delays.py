"""Rows that wait, in SQL that stays insert-only and needs no watermark.

A processing-time session keyed by a row's own id holds only that row, so it closes exactly one gap after it came: by a
timer, also when nothing else comes, and also behind a restart. What it held is forgotten with it.
"""

from __future__ import annotations


def delayed(view: str, key: str, time: str, delay_s: float) -> str:
    """Return the FROM item of a view's rows `delay_s` after they came.

    Args:
        view: the rows; no two have the same key within the delay.
        key: column that names a row.
        time: processing-time column.
        delay_s: seconds.
    """
    return f"SESSION(TABLE {view} PARTITION BY `{key}`, DESCRIPTOR(`{time}`), {_interval(delay_s)})"


def _interval(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    days, rest = divmod(milliseconds, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}' DAY TO SECOND(3)"
