"""Files become one stream of samples in time order, as the sample job would have made it from the same events.

What a list does not tell (its item is not on it, it is another user's, the file has no such list) is an organic sample.
Feedback after the correction horizon only counts, like the dead letter that it would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from features.config import AppConfig, nearest_name
from features.label_config import Labels
from trainer.evaluation.columns import Columns
from trainer.evaluation.errors import EvaluationError
from trainer.samples import Sample, SampleItem

EVENT_COLUMNS = ("user_id", "item_id", "event_time_ms")
SERVED_COLUMNS = ("request_id", "user_id", "item_id", "position", "served_time_ms")


@dataclass(frozen=True)
class Entry:
    """One step of the stream."""

    time_ms: int
    """When it comes: of a list under `labels.policy: wait` one window after it was served."""
    sample: Sample
    only_counts: bool = False
    """Whether it feeds the counters and teaches nothing."""
    is_mark: bool = False
    """Whether this is only the moment at which the list's rows are taken."""


@dataclass(frozen=True)
class Stream:
    """Everything that is evaluated, in time order."""

    entries: list[Entry]
    item_records: dict[str, bytes] = field(default_factory=dict)
    """Item id -> JSON as on `headrace.items.v1`."""
    num_events: int = 0
    num_lists: int = 0
    unknown_requests: int = 0
    """Events that name a list which the file of lists does not have."""


def read_stream(
    events_path: Path,
    app: AppConfig,
    labels: Labels,
    served_path: Path | None = None,
    items_path: Path | None = None,
    action: str | None = None,
    limit: int | None = None,
) -> Stream:
    """Read the files.

    Args:
        events_path: parquet of events.
        app: declared actions.
        labels: policy and horizon.
        served_path: parquet with one row per shown item.
        items_path: parquet of item records.
        action: of all events of a file without that column.
        limit: only the first events, in time order, and the lists up to the last of them.

    Raises:
        EvaluationError: a file cannot be used; the message says why.
    """
    lists = _read_lists(served_path, labels) if served_path else {}
    events = sorted(_read_events(events_path, app, action), key=lambda event: event.event_time_ms)
    if limit is not None:
        events = events[:limit]
        lists = {name: shown for name, shown in lists.items() if shown.event_time_ms <= events[-1].event_time_ms}
    entries = [*_list_entries(lists.values(), labels), *_event_entries(events, lists, labels)]
    # Stable: of one millisecond lists come first, then events in the order of the file.
    entries.sort(key=lambda entry: entry.time_ms)
    unknown = sum(bool(event.request_id) and event.request_id not in lists for event in events) if lists else 0
    return Stream(entries, read_items(items_path) if items_path else {}, len(events), len(lists), unknown)


def read_items(path: Path) -> dict[str, bytes]:
    """Read item records; returns item id -> JSON as on `headrace.items.v1`.

    Raises:
        EvaluationError: the file cannot be used.
    """
    columns = Columns(path, ("item_id",))
    ids = columns.texts("item_id")
    categories = columns.optional_lists("categories")
    published, expires = columns.optional_times_ms("published_time_ms"), columns.optional_times_ms("expires_time_ms")
    rest = zip(
        columns.optional_texts("title"), columns.values("attributes"), columns.values("is_available"), strict=True
    )
    records = {}
    for row, (title, attributes, is_available) in enumerate(rest):
        records[ids[row]] = msgspec.json.encode(
            {
                "item_id": ids[row],
                "title": title,
                "categories": [str(name) for name in categories[row] or ()],
                "attributes": {str(key): str(value) for key, value in dict(attributes or {}).items()},
                "is_available": is_available is not False,
                "published_time_ms": published[row],
                "expires_time_ms": expires[row],
            }
        )
    return records


def _read_events(path: Path, app: AppConfig, action: str | None) -> list[Sample]:
    columns = Columns(path, EVENT_COLUMNS)
    users, items, times = columns.texts("user_id"), columns.texts("item_id"), columns.times_ms("event_time_ms")
    actions = _actions(columns, app, action)
    values, requests = columns.optional_numbers("value"), columns.optional_texts("request_id")
    ids = [name or f"event-{row:09d}" for row, name in enumerate(columns.optional_texts("event_id"))]
    return [
        Sample(
            sample_id=ids[row],
            kind="organic",
            user_id=users[row],
            items=[SampleItem(items[row])],
            event_time_ms=times[row],
            request_id=requests[row],
            event_id=ids[row],
            action=actions[row],
            value=values[row],
            outcome=app.actions[actions[row]].outcome_of(values[row]),
        )
        for row in range(len(columns))
    ]


def _actions(columns: Columns, app: AppConfig, action: str | None) -> list[str]:
    if columns.has("action"):
        actions = columns.texts("action")
    elif action:
        actions = [action] * len(columns)
    else:
        raise EvaluationError(f"{columns.path} lacks the column action; add it, or name one for all with --action")
    for name in sorted(set(actions) - set(app.actions)):
        raise EvaluationError(
            f"{columns.path}: column action holds {name!r}, which headrace.yaml does not declare under actions"
            f"{nearest_name(name, list(app.actions))}"
        )
    return actions


def _read_lists(path: Path, labels: Labels) -> dict[str, Sample]:
    columns = Columns(path, SERVED_COLUMNS)
    requests, users, items = columns.texts("request_id"), columns.texts("user_id"), columns.texts("item_id")
    times, positions = columns.times_ms("served_time_ms"), columns.optional_numbers("position")
    propensities, rows = columns.optional_numbers("propensity"), columns.optional_lists("row")
    hashes = columns.optional_texts("feature_schema_hash")
    of_request: dict[str, list[int]] = {}
    for row, request_id in enumerate(requests):
        of_request.setdefault(request_id, []).append(row)
    lists = {}
    for request_id, members in of_request.items():
        members.sort(key=lambda row: positions[row] or 0.0)
        first = members[0]
        if any((users[row], times[row]) != (users[first], times[first]) for row in members):
            raise EvaluationError(
                f"{path}: rows of request_id {request_id!r} differ in user_id or served_time_ms; "
                "a request is one list of one user at one time"
            )
        shown = [SampleItem(items[row], int(positions[row] or 0), propensities[row], rows[row]) for row in members]
        lists[request_id] = Sample(
            sample_id=request_id,
            kind="impression",
            user_id=users[first],
            items=shown,
            event_time_ms=times[first],
            request_id=request_id,
            feature_schema_hash=hashes[first],
            served_time_ms=times[first],
            label_policy=labels.policy,
        )
    return lists


def _list_entries(lists: Iterable[Sample], labels: Labels) -> Iterator[Entry]:
    wait_ms = round(1000 * labels.window_s) if labels.policy == "wait" else 0
    for shown in lists:
        if wait_ms:
            yield Entry(shown.event_time_ms, shown, is_mark=True)
        yield Entry(shown.event_time_ms + wait_ms, shown)


def _event_entries(events: Sequence[Sample], lists: dict[str, Sample], labels: Labels) -> Iterator[Entry]:
    positions = {name: {item.item_id: item for item in shown.items} for name, shown in lists.items()}
    for event in events:
        shown = lists.get(event.request_id or "")
        item = positions[shown.sample_id].get(event.items[0].item_id) if shown else None
        if shown is None or item is None or shown.user_id != event.user_id:
            yield Entry(event.event_time_ms, event)
            continue
        known = labels.labels_of(event.action or "", event.value, event.outcome or 0)
        labelled = msgspec.structs.replace(item, labels=dict(known))
        correction = msgspec.structs.replace(
            event,
            kind="correction",
            items=[labelled, *shown.items],
            feature_schema_hash=shown.feature_schema_hash,
            served_time_ms=shown.served_time_ms,
            label_policy=shown.label_policy,
        )
        is_late = event.event_time_ms > shown.event_time_ms + labels.horizon_ms
        yield Entry(event.event_time_ms, correction, only_counts=is_late)
