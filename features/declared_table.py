"""The raw numbers of declared features, counted in-process: the same arrays that Flink writes into feature rows.

Fed in sample order by trainer and `evaluate`; a test holds it equal to the streams' SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from features.config import EPOCH_HALF_LIVES
from features.declared_features import DeclaredFeature
from features.distinct_counts import SIZE, add_text, estimate
from features.grown import grown


class CountableEvent(Protocol):
    """What tables look at in an event."""

    @property
    def event_id(self) -> str:
        """Names it; of two events of one moment the later."""

    @property
    def user_id(self) -> str:
        """Whose it is."""

    @property
    def item_id(self) -> str:
        """What it is about."""

    @property
    def action(self) -> str:
        """What the user did."""

    @property
    def value(self) -> float | None:
        """What it carries."""

    @property
    def event_time_ms(self) -> int:
        """When."""


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """An event as tables count it."""

    event_id: str
    user_id: str
    item_id: str
    action: str
    value: float | None
    event_time_ms: int


class DeclaredTable:
    """Rows of one entity.

    Args:
        declared: the entity's features in the order of their declaration.
    """

    def __init__(self, declared: Mapping[str, DeclaredFeature]) -> None:
        self._features = tuple(declared.values())
        starts = np.cumsum([0, *(feature.width for feature in self._features)])
        self._starts, self.width = starts[:-1].tolist(), int(starts[-1])
        self._raw = np.zeros((64, self.width))
        self._newest_ids: dict[tuple[int, int], str] = {}
        """(row, feature) -> event_id behind a `last`."""
        self._registers: dict[tuple[int, int], bytearray] = {}
        """(row, feature) -> registers behind a `distinct`."""

    def rows(self, num_rows: int) -> NDArray[np.float64]:
        """Return the first `num_rows` rows, (num_rows, W), zeros where nothing was counted; a view."""
        self._ensure(num_rows)
        return self._raw[:num_rows]

    def row(self, row: int) -> NDArray[np.float64]:
        """Return one row, (W,)."""
        self._ensure(row + 1)
        return np.asarray(self._raw[row])

    def set_row(self, row: int, raw: NDArray[np.float64]) -> None:
        """Take over a row that travelled, (W,)."""
        self._ensure(row + 1)
        self._raw[row] = raw

    def add_event(self, row: int, event: CountableEvent) -> None:
        """Count one event; the order of calls does not matter."""
        if not self._features:
            return
        self._ensure(row + 1)
        for number, (feature, start) in enumerate(zip(self._features, self._starts, strict=True)):
            if feature.takes(event.action, event.value):
                self._add(number, row, self._raw[row, start : start + feature.width], event)

    def clear_row(self, row: int) -> None:
        """Forget all that was counted in a row."""
        self._ensure(row + 1)
        self._raw[row] = 0.0
        for key in [key for key in (*self._newest_ids, *self._registers) if key[0] == row]:
            self._newest_ids.pop(key, None)
            self._registers.pop(key, None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the whole state for a checkpoint."""
        ids = [event_id.encode() for event_id in self._newest_ids.values()]
        return {
            "raw": self._raw.copy(),
            "newest_ids": np.frombuffer(b"".join(ids), dtype=np.uint8),
            "newest_id_ends": np.cumsum([len(event_id) for event_id in ids], dtype=np.int64),
            "newest_keys": np.array(list(self._newest_ids), dtype=np.int64).reshape(-1, 2),
            "register_keys": np.array(list(self._registers), dtype=np.int64).reshape(-1, 2),
            "registers": np.frombuffer(b"".join(self._registers.values()), dtype=np.uint8).reshape(-1, SIZE),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        self._raw = arrays["raw"].copy()
        text, ends = arrays["newest_ids"].tobytes(), arrays["newest_id_ends"].tolist()
        ids = [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
        self._newest_ids = dict(zip(_keys(arrays["newest_keys"]), ids, strict=True))
        registers = [bytearray(line.tobytes()) for line in arrays["registers"]]
        self._registers = dict(zip(_keys(arrays["register_keys"]), registers, strict=True))

    def _add(self, number: int, row: int, raw: NDArray[np.float64], event: CountableEvent) -> None:
        feature = self._features[number]
        if feature.num_sums:
            _add_sums(feature, raw, event)
        elif feature.aggregation == "max":
            raw[1] = max(raw[1], event.value or 0.0) if raw[0] else event.value
            raw[0] += 1.0
        elif feature.aggregation == "time_since_last":
            raw[0] = max(raw[0], event.event_time_ms)
        elif feature.aggregation == "distinct":
            registers = self._registers.setdefault((row, number), bytearray(SIZE))
            add_text(registers, getattr(event, feature.of or ""))
            raw[0] = estimate(registers)
        elif (event.event_time_ms, event.event_id) > (raw[0], self._newest_ids.get((row, number), "")):
            self._newest_ids[row, number] = event.event_id
            raw[:] = (event.event_time_ms, event.value)

    def _ensure(self, num_rows: int) -> None:
        self._raw = grown(self._raw, num_rows)


def _keys(keys: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(row), int(number)) for row, number in keys]


def _add_sums(feature: DeclaredFeature, raw: NDArray[np.float64], event: CountableEvent) -> None:
    amounts = _amounts(feature, event)
    if not feature.num_spans:
        raw += amounts
        return
    width = 1 + 2 * len(amounts)
    for span in range(feature.num_spans):
        epoch, weight = _epoch_and_weight(feature, span, event.event_time_ms)
        _add_to_span(raw[span * width : (span + 1) * width], epoch, weight * amounts)


def _amounts(feature: DeclaredFeature, event: CountableEvent) -> NDArray[np.float64]:
    value = event.value or 0.0
    if feature.aggregation == "ratio":
        return np.array([float(event.action in feature.positives), 1.0])
    return np.array({"count": [1.0], "sum": [value], "mean": [value, 1.0]}[feature.aggregation])


def _epoch_and_weight(feature: DeclaredFeature, span: int, time_ms: int) -> tuple[int, float]:
    if feature.window_s is not None:
        return time_ms // round(feature.window_s * 1000), 1.0
    half_life_ms = feature.half_lives_s[span] * 1000.0
    epoch_ms = round(EPOCH_HALF_LIVES * half_life_ms)
    return time_ms // epoch_ms, 2.0 ** ((time_ms % epoch_ms) / half_life_ms)


def _add_to_span(span: NDArray[np.float64], epoch: int, amounts: NDArray[np.float64]) -> None:
    """Add to the newest epoch or the one before; what is older has no place."""
    size = len(amounts)
    newest = int(span[0])
    if epoch > newest:
        span[1 + size :] = span[1 : 1 + size] if epoch == newest + 1 else 0.0
        span[1 : 1 + size] = 0.0
        span[0] = newest = epoch
    if epoch == newest:
        span[1 : 1 + size] += amounts
    elif epoch == newest - 1:
        span[1 + size :] += amounts
