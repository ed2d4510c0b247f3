"""Feature rows that a rebuilt job has nothing to say of: told away by a null record, which the ingester follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from compose.data_orders import send_records
from compose.topic_scan import scan_topic
from streams.kafka_tables import feature_topic


def delete_stale_rows(bootstrap: str, view: str, entity_ids: Collection[str], since_ms: int) -> int:
    """Delete the rows of these entities that nobody wrote since a time; return how many.

    Args:
        bootstrap: Kafka's servers.
        view: of the rows.
        entity_ids: whose.
        since_ms: broker time from which on rows are those of the rebuilt job.

    Raises:
        StackError: Kafka does not answer.
    """
    topic, keys = feature_topic(view), {entity_id.encode() for entity_id in entity_ids}
    stale = stale_keys(scan_topic(bootstrap, topic), keys, since_ms) if keys else []
    send_records(bootstrap, topic, [(key, None) for key in stale])
    return len(stale)


def stale_keys(records: Iterable[object], keys: Collection[bytes], since_ms: int) -> list[bytes]:
    """Return those of `keys` whose newest record is a row from before `since_ms`."""
    newest: dict[bytes, bool] = {}
    for record in records:
        key: bytes | None = getattr(record, "key", None)
        if key in keys and key is not None:
            newest[key] = getattr(record, "value", None) is not None and getattr(record, "timestamp", 0) < since_ms
    return sorted(key for key, is_stale in newest.items() if is_stale)
