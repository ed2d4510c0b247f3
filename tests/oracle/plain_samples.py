"""Which samples must come out of a log: one an event and one a list, and the set of what can be learnt of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.oracle.plain_events import Json, Letter, holds

Place = tuple[str, int, int]
Learnt = tuple[str, str, str, float]
"""(request_id, item_id, head, value); the event_id stands for the request of an organic sample."""

SHOWN = "shown"
"""Head of what an impression says: shown, and nothing known yet."""
_LIST_FIELDS = ("feature_schema_hash", "user_row", "context")
_EVENT_FIELDS = ("event_id", "user_id", "action", "value", "outcome", "event_time_ms")


def samples_of(events: Sequence[Json], lists: Mapping[str, Json], config: Json) -> dict[tuple[str, str], Json]:
    """Return every sample by (kind, sample_id), with the fields that tell something.

    Feedback to a list that never came or is too old makes none. What its list cannot explain is organic: an item that
    was not on it, a list of another user, or of a surface that does not learn.
    """
    samples = [_impression(shown) for shown in lists.values() if shown.get("learn") is True]
    for event in events:
        shown = lists.get(event["request_id"]) if _is_feedback(event) else None
        if shown is not None and not _is_late(shown, event, config):
            labels = labels_of(event, config)
            is_explained = _place(shown, event) is not None
            samples.append(_correction(shown, event, labels) if is_explained else _organic(event, labels))
        elif not _is_feedback(event):
            samples.append(_organic(event, labels_of(event, config)))
    return {(sample["kind"], sample["sample_id"]): sample for sample in samples}


def late_feedback_of(
    events: Sequence[Json], lists: Mapping[str, Json], config: Json
) -> tuple[dict[Place, Letter], set[Place]]:
    """Return the dead letters of feedback that there must be, and where one `unknown_request` may be.

    May: the list came, but the job may have waited for it longer than the window.
    """
    must: dict[Place, Letter] = {}
    may: set[Place] = set()
    for event in filter(_is_feedback, events):
        shown = lists.get(event["request_id"])
        reason = "unknown_request" if shown is None else "after_horizon"
        if shown is not None:
            may.add(event["place"])
        if shown is None or _is_late(shown, event, config):
            must[event["place"]] = Letter(reason, event["raw"], event["record_time_ms"])
    return must, may


def labels_of(event: Json, config: Json) -> dict[str, float]:
    """Return head -> 1 or 0 that an event brings."""
    return {
        name: head.get("value", 1)
        for name, head in config["labels"]["heads"].items()
        if event["action"] in head["actions"] and ("when" not in head or holds(head["when"], event["value"]))
    }


def _is_feedback(event: Json) -> bool:
    return bool(event["request_id"]) and "backfill" not in event["place"][0]


def _is_late(shown: Json, event: Json, config: Json) -> bool:
    horizon_ms = config["labels"]["correction_horizon_h"] * 3_600_000
    return bool(event["record_time_ms"] - shown["served_time_ms"] > horizon_ms)


def learnt_of(samples: Iterable[Json]) -> set[Learnt]:
    """Return what samples teach, each once."""
    learnt: set[Learnt] = set()
    for sample in samples:
        request_id = sample.get("request_id") or sample["sample_id"]
        if sample["kind"] == "impression":
            learnt |= {(request_id, item["item_id"], SHOWN, 0.0) for item in sample["items"]}
        else:
            item = sample["items"][0]
            labels = item.get("labels") or {}
            learnt |= {(request_id, item["item_id"], head, float(value)) for head, value in labels.items()}
    return learnt


def told(sample: Json) -> Json:
    """Return a sample as read from the topic with the fields that `samples_of` gives: absent and empty are one."""
    fields = ("kind", "sample_id", "request_id", "served_time_ms", "broker_time_ms", *_LIST_FIELDS, *_EVENT_FIELDS)
    return _without_nothing({name: sample.get(name) for name in fields} | {"items": list(map(_item, sample["items"]))})


def _impression(shown: Json) -> Json:
    named = {name: shown[name] for name in ("request_id", "user_id", "served_time_ms")}
    times = {"event_time_ms": shown["served_time_ms"], "broker_time_ms": shown["record_time_ms"]}
    items = [_item(item) for item in shown["items"]]
    fields = {"kind": "impression", "sample_id": shown["request_id"], "items": items}
    return _without_nothing(named | times | fields | {name: shown.get(name) for name in _LIST_FIELDS})


def _correction(shown: Json, event: Json, labels: dict[str, float]) -> Json:
    first = _item(shown["items"][_place(shown, event) or 0] | {"labels": labels})
    named = {"kind": "correction", "sample_id": event["event_id"], "request_id": shown["request_id"]}
    listed = {name: shown.get(name) for name in (*_LIST_FIELDS, "served_time_ms")}
    return _without_nothing(named | listed | _of_event(event) | {"items": [first, *map(_item, shown["items"])]})


def _organic(event: Json, labels: dict[str, float]) -> Json:
    item = {"item_id": event["item_id"], "position": 0, "propensity": 1, "labels": labels}
    named = {"kind": "organic", "sample_id": event["event_id"], "context": event["context"]}
    return _without_nothing(named | _of_event(event) | {"items": [_item(item)]})


def _of_event(event: Json) -> Json:
    return {name: event[name] for name in _EVENT_FIELDS} | {"broker_time_ms": event["record_time_ms"]}


def _place(shown: Json, event: Json) -> int | None:
    """Return the first place of the event's item on its user's list, None where the list does not tell."""
    item_ids = [item["item_id"] for item in shown["items"]]
    if shown.get("learn") is not True or shown["user_id"] != event["user_id"] or event["item_id"] not in item_ids:
        return None
    return item_ids.index(event["item_id"])


def _item(item: Json) -> Json:
    return _without_nothing({name: item.get(name) for name in ("item_id", "position", "propensity", "row", "labels")})


def _without_nothing(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, "", 0, [], {})}
