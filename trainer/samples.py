"""Samples as they come from `headrace.samples.v1`: decoded, checked, typed by kind.

The schema of record is `protos/samples.proto`. Unknown fields are passed over; nulls mean absent.
Letters: `n` items of a list, `F` ranker inputs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.json_records import JsonDecoder
from trainer.errors import SampleError

HEAD = "positive"
"""The one thing the ranker predicts; every head's positives count for it, and what was shown is its negative."""

_MAX_ITEMS = 501
"""A list of 500, and the labelled item that a correction puts before it."""
_LARGEST_INPUT = 1e6
"""Far above what `features/model_inputs.py` makes; squares of much larger ones would spoil the ranker's statistics."""
_AHEAD_MS = 3_600_000
"""An event further ahead of its broker time than this would age every counter at once; streams clamp at seconds."""
_LATEST_MS = 4_102_444_800_000
"""The year 2100, where the broker time is unknown."""


class SampleItem(msgspec.Struct, frozen=True):
    """One item of a sample; `row` holds the ranker inputs as the ranker saw them, empty for organic samples."""

    item_id: str
    position: int = 0
    propensity: float | None = 1.0
    row: list[float] | None = None
    labels: dict[str, float | None] | None = None

    @property
    def known(self) -> dict[str, int]:
        """Head -> 1 wanted or 0 unwanted, of the heads of which something is known."""
        return {head: int(value > 0.5) for head, value in (self.labels or {}).items() if value is not None}

    @property
    def label(self) -> int | None:
        """1 where any head says wanted, 0 where only unwanted ones say something, None where nothing is known."""
        return max(self.known.values(), default=None)


class Event(msgspec.Struct, frozen=True):
    """The event behind a correction or an organic sample."""

    event_id: str
    user_id: str
    item_id: str
    action: str
    outcome: int
    event_time_ms: int
    value: float | None = None
    is_answer: bool = False
    """Whether it reacts to a list on which its item stood."""


class Sample(msgspec.Struct, frozen=True):
    """One message: a served list (`impression`), a list with feedback (`correction`) or an event alone (`organic`)."""

    sample_id: str
    kind: str
    user_id: str
    items: list[SampleItem]
    event_time_ms: int
    request_id: str | None = ""
    feature_schema_hash: str | None = ""
    event_id: str | None = ""
    action: str | None = ""
    value: float | None = None
    outcome: int | None = 0
    served_time_ms: int | None = 0
    broker_time_ms: int | None = 0
    label_policy: str | None = ""
    context: dict[str, str | None] | None = None

    @property
    def is_immediate(self) -> bool:
        """Whether its list was taken for negatives as soon as it was served; older samples do not say, but were."""
        return self.label_policy != "wait"

    @property
    def event(self) -> Event | None:
        """The event that this sample brings, None for an impression."""
        if self.kind == "impression":
            return None
        return Event(
            event_id=self.event_id or self.sample_id,
            user_id=self.user_id,
            item_id=self.items[0].item_id,
            action=self.action or "",
            outcome=self.outcome or 0,
            event_time_ms=self.event_time_ms,
            value=self.value,
            is_answer=self.kind == "correction",
        )


@dataclass(frozen=True)
class ServedList:
    """The rows of an impression or correction, each item once."""

    item_ids: tuple[str, ...]
    inputs: NDArray[np.float32]
    """(n, F)"""
    labels: tuple[int | None, ...]
    positions: NDArray[np.int64]
    """(n,) places from 0."""


_decoder = JsonDecoder(Sample)
_KINDS = ("impression", "correction", "organic")


def decode_sample(raw: bytes) -> Sample:
    """Decode and check one message.

    Raises:
        SampleError: it is no sample that can be learnt from; `reason` is a short code.
    """
    try:
        sample = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SampleError("not_a_sample", f"cannot be decoded: {error}") from error
    if sample.kind not in _KINDS:
        raise SampleError("unknown_kind", f"kind {sample.kind!r:.40} is none of {', '.join(_KINDS)}")
    if not 1 <= len(sample.items) <= _MAX_ITEMS:
        raise SampleError("bad_items", f"{len(sample.items)} items; a sample has 1 to {_MAX_ITEMS}")
    if sample.kind != "organic" and not sample.request_id:
        raise SampleError("missing_request_id", f"{sample.kind} {sample.sample_id!r:.80} names no request")
    for text in (sample.user_id, *(item.item_id for item in sample.items)):
        if not 1 <= len(text.encode()) <= 128:
            raise SampleError("bad_id", f"an id of {len(text.encode())} bytes; ids have 1 to 128")
    latest_ms = (sample.broker_time_ms or _LATEST_MS) + _AHEAD_MS
    if not 0 < sample.event_time_ms <= latest_ms or sample.outcome not in (None, -1, 0, 1):
        raise SampleError("bad_value", f"event_time_ms {sample.event_time_ms}, outcome {sample.outcome}")
    # What no array of 64 bits holds would be learnt, and then end every checkpoint.
    for name, time_ms in (("broker_time_ms", sample.broker_time_ms), ("served_time_ms", sample.served_time_ms)):
        if not 0 <= (time_ms or 0) <= _LATEST_MS:
            raise SampleError("bad_time", f"{name} {time_ms} is no time between 1970 and 2100")
    return sample


def served_list(sample: Sample, num_inputs: int, schema_hash: str) -> ServedList:
    """Return the rows of an impression or correction; of an item that stands twice the first counts.

    Raises:
        SampleError: the rows are of another schema, of another length, or not finite.
    """
    if sample.feature_schema_hash != schema_hash:
        raise SampleError(
            "schema", f"rows of schema {sample.feature_schema_hash!r:.40}, this trainer reads {schema_hash}"
        )
    items = list({item.item_id: item for item in reversed(sample.items)}.values())[::-1]
    rows = [item.row or [] for item in items]
    if any(len(row) != num_inputs for row in rows):
        raise SampleError("row_length", f"rows of {sorted({len(row) for row in rows})} inputs, must be {num_inputs}")
    inputs = np.array(rows, dtype=np.float32)
    if not np.isfinite(inputs).all():
        raise SampleError("not_finite", "rows hold numbers that do not fit float32")
    if (largest := float(np.abs(inputs).max(initial=0.0))) > _LARGEST_INPUT:
        raise SampleError("too_large", f"rows hold {largest:g}, inputs are at most {_LARGEST_INPUT:g}")
    positions = np.array([min(max(item.position, -1), _MAX_ITEMS) for item in items], dtype=np.int64)
    return ServedList(tuple(item.item_id for item in items), inputs, tuple(item.label for item in items), positions)


def label_key(request_id: str, item_id: str, head: str, value: int) -> bytes:
    """Name what is learnt once: 16 bytes of (request_id, item_id, head, value)."""
    text = "\x00".join((request_id, item_id, head, str(value)))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class LearntOnce:
    """The labels and events learnt so far: all of the last `keep_ms`, at most `limit`.

    A key is stamped with the newest broker time seen, so keys are in the order of their stamps. It is forgotten when
    the clock (`advance`) is `keep_ms` past its stamp. A sample from before the newest stamp forgotten so is refused:
    nobody could say whether it was learnt.

    Args:
        limit: keys remembered; the oldest are forgotten first, and their labels could be learnt again.
        keep_ms: how long a key is kept, in broker time.
    """

    def __init__(self, limit: int, keep_ms: int = 1 << 60) -> None:
        self._limit = limit
        self._keep_ms = keep_ms
        self._keep_from_ms: int | None = None
        self._stamps: OrderedDict[bytes, int] = OrderedDict()
        self._newest_ms = 0
        self._clock_ms = 0
        self._forgotten_ms = 0
        """Newest stamp that was forgotten because of its age."""
        self.forgotten_early = 0
        """Keys that had to go before their time because of `limit`."""

    def __len__(self) -> int:
        return len(self._stamps)

    def __contains__(self, key: bytes) -> bool:
        return key in self._stamps

    def admit(self, sample: Sample) -> None:
        """Take the time of a sample that is about to be learnt.

        Raises:
            SampleError: what was learnt of its list or event may be forgotten already.
        """
        of_list_ms = sample.served_time_ms if sample.kind != "organic" else 0
        reference_ms = of_list_ms or sample.broker_time_ms or 0
        if 0 < reference_ms <= self._forgotten_ms:
            raise SampleError("too_old", f"of {reference_ms}; labels are remembered from {self._forgotten_ms} on")
        self._newest_ms = max(self._newest_ms, sample.broker_time_ms or 0, reference_ms)

    def add(self, key: bytes) -> bool:
        """Remember a key; say whether it was new."""
        if key in self._stamps:
            return False
        self._stamps[key] = self._newest_ms
        if len(self._stamps) > self._limit:
            self._stamps.popitem(last=False)
            self.forgotten_early += 1
        return True

    def keep_from(self, time_ms: int | None) -> None:
        """Keep what was stamped from `time_ms` on, however old: samples of that time wait to be learnt."""
        self._keep_from_ms = time_ms

    def advance(self, clock_ms: int) -> None:
        """Forget what is too old once all partitions have come as far as `clock_ms`."""
        self._clock_ms = max(self._clock_ms, clock_ms)
        bound_ms = self._clock_ms - self._keep_ms
        if self._keep_from_ms is not None:
            bound_ms = min(bound_ms, self._keep_from_ms)
        while self._stamps and (stamp := next(iter(self._stamps.values()))) < bound_ms:
            self._stamps.popitem(last=False)
            self._forgotten_ms = stamp

    def array(self) -> NDArray[np.uint8]:
        """Return all keys, oldest first, (n, 16) uint8."""
        return np.frombuffer(b"".join(self._stamps), dtype=np.uint8).reshape(-1, 16)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything: keys (n, 16), their stamps (n,), and four numbers."""
        numbers = [self._newest_ms, self._clock_ms, self._forgotten_ms, self.forgotten_early]
        stamps = np.fromiter(self._stamps.values(), dtype=np.int64, count=len(self._stamps))
        return {"keys": self.array(), "stamps": stamps, "numbers": np.array(numbers, dtype=np.int64)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned."""
        keys = _chunks(arrays["keys"].tobytes(), 16)
        self._stamps = OrderedDict(zip(keys, arrays["stamps"].tolist(), strict=True))
        self._newest_ms, self._clock_ms, self._forgotten_ms, self.forgotten_early = arrays["numbers"].tolist()


def _chunks(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
