"""Feature rows as they lie in Redis, read without Feast: one hash an entity, values as protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import mmh3
from redis import Redis

from protos import online_rows_pb2

JOIN_KEYS = {
    "user_activity": "user_id",
    "user_exposure": "user_id",
    "item_activity": "item_id",
    "item_exposure": "item_id",
    "global_activity": "scope",
}


class OnlineReader:
    """Reads feature rows from Redis as Feast lays them: one hash an entity, values as protobuf."""

    def __init__(self, address: str, name: str) -> None:
        host, port = address.split(":")
        self._client: Any = Redis(host, int(port))
        self._project = name.replace("-", "_").encode()
        self._name = name

    def row(self, view: str, entity_id: str, fields: Iterable[str]) -> dict[str, Any]:
        """Return fields of a row by name; None where one is missing."""
        stored = self._client.hgetall(self._key(view, entity_id))
        return {name: _decoded(stored.get(_field(view, name))) for name in fields}

    def consumed(self, user_id: str) -> dict[str, int]:
        """Return the items of a user's consumed set with their times."""
        stored = self._client.zrange(f"headrace:{self._name}:consumed:{user_id}", 0, -1, withscores=True)
        return {member.decode(): int(score) for member, score in stored}

    def entities(self, prefix: str) -> set[tuple[str, str]]:
        """Return (view, entity id) of every row whose id begins with `prefix`."""
        found: set[tuple[str, str]] = set()
        for key in self._client.scan_iter(match=b"*" + prefix.encode() + b"*", count=5000):
            join_key, entity_id = _parsed_key(key, self._project)
            views = [view for view, known in JOIN_KEYS.items() if known == join_key] if join_key else []
            names = set(self._client.hkeys(key)) if views else set()
            found |= {(view, entity_id) for view in views if f"_ts:{view}".encode() in names}
        return found

    def _key(self, view: str, entity_id: str) -> bytes:
        name, entity = JOIN_KEYS[view].encode(), entity_id.encode()
        return struct.pack("<III", 1, 2, len(name)) + name + struct.pack("<II", 2, len(entity)) + entity + self._project


def _parsed_key(key: bytes, project: bytes) -> tuple[str, str]:
    for join_key in set(JOIN_KEYS.values()):
        start = struct.pack("<III", 1, 2, len(join_key)) + join_key.encode() + struct.pack("<I", 2)
        if key.startswith(start) and key.endswith(project):
            return join_key, key[len(start) + 4 : -len(project)].decode()
    return "", ""


def _field(view: str, name: str) -> bytes:
    return struct.pack("<I", mmh3.hash(f"{view}:{name}", signed=False))


def _decoded(stored: bytes | None) -> Any:
    if not stored:
        return None
    value = online_rows_pb2.Value.FromString(stored)
    found: Any = getattr(value, value.WhichOneof("val") or "int64_val")
    return list(found.val) if hasattr(found, "val") else found
