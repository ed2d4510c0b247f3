"""Packed rows of one view, as far as they are looked at before they are passed on."""

from __future__ import annotations

from collections.abc import Mapping

from features.config import FeaturesConfig
from features.declared_features import of_entity
from features.errors import BadRowError
from features.feast_values import LIST_TAGS, encode_int64, encode_value
from features.feature_topics import DECLARED_KIND, FeatureTopic, num_counters
from features.packed_rows import unpack_list
from protos import features_pb2

_HISTORY = ("user_history_item_ids", "user_history_times_ms")


class PackedForm:
    """What packed rows of one view must look like, and what they lack of a row in Redis.

    Args:
        entry: the view.
        config: half-lives and declared features.
    """

    def __init__(self, entry: FeatureTopic, config: FeaturesConfig) -> None:
        self.config = config
        self.names = (*entry.fields, *of_entity(config.declared, entry.entity))
        self._columns = list(entry.fields)[:-1]
        self._tags = b"".join(LIST_TAGS[kind] for kind in list(entry.fields.values())[:-1])
        self._zeros = encode_value("double_list", [0.0] * num_counters(config)) if entry.has_counters else b""
        self._num_counters = num_counters(config)
        self._declared = {
            name: encode_value(DECLARED_KIND, [0.0] * feature.width)
            for name, feature in of_entity(config.declared, entry.entity).items()
        }
        self._history = tuple(self._columns.index(name) for name in _HISTORY) if entry.needs_every_row else None

    def values_of(self, row: features_pb2.FeatureRow) -> tuple[list[bytes], Mapping[str, int]]:
        """Return the bytes of every field in the order of `names`, and the consumed items.

        Raises:
            BadRowError: columns or counters do not fit this configuration.
        """
        values = list(row.values)
        if b"".join([value[:1] for value in values]) != self._tags or not all(values):
            raise BadRowError(f"{len(values)} columns that are not {', '.join(self._columns)}")
        if self._zeros and len(values[0]) != len(self._zeros):
            values[0] = self._counters(values[0])
        consumed = _consumed(*(values[at] for at in self._history)) if self._history else {}
        values.append(encode_int64(row.event_time_ms))
        for name, zeros in self._declared.items():
            numbers = row.declared.get(name, b"")
            values.append(numbers if len(numbers) == len(zeros) else zeros)
        return values, consumed

    def _counters(self, packed: bytes) -> bytes:
        """Return zeros for none; any other number of them is of other half-lives."""
        sent = len(unpack_list(packed))
        if sent:
            raise BadRowError(f"{sent} counters, {self._num_counters} are configured: the job has other half-lives")
        return self._zeros


def _consumed(item_ids: bytes, times_ms: bytes) -> Mapping[str, int]:
    ids, times = unpack_list(item_ids), unpack_list(times_ms)
    if len(ids) != len(times):
        raise BadRowError(f"history columns of lengths {[len(ids), len(times)]}")
    return dict(zip(reversed(ids), reversed(times), strict=True))  # The newest of an item stays.
