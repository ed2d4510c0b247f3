"""Packed rows of one view, as far as they are looked at before they are passed on."""

from __future__ import annotations

from features.config import FeaturesConfig
from features.consumed_items import NO_ITEMS, ConsumedItems, pack_history
from features.declared_features import of_entity
from features.errors import BadRowError
from features.feast_values import LIST_TAGS, encode_int64, encode_value
from features.feature_topics import DECLARED_KIND, FeatureTopic, num_counters
from features.packed_rows import unpack_list
from protos import features_pb2

_HISTORY = ("user_history_item_ids", "user_history_times_ms")
_EMPTY_LIST = 2
"""Bytes of a list without elements."""


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

    def values_of(self, row: features_pb2.FeatureRow) -> tuple[list[bytes], ConsumedItems]:
        """Return the bytes of every field in the order of `names`, and the consumed items.

        Raises:
            BadRowError: columns or counters do not fit this configuration.
        """
        values = list(row.values)
        if b"".join([value[:1] for value in values]) != self._tags or not all(values):
            raise BadRowError(f"{len(values)} columns that are not {', '.join(self._columns)}")
        if self._zeros and len(values[0]) != len(self._zeros):
            values[0] = self._counters(values[0])
        consumed = NO_ITEMS
        if self._history and len(values[self._history[0]]) > _EMPTY_LIST:
            consumed = pack_history(*(values[at] for at in self._history))
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
