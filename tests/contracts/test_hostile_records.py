"""Whatever bytes lie on a topic, its readers take them, count them or refuse them in words; nothing ends a reader.

Valid records are mutated as strangers would: fields nested a thousand deep, other types, numbers that no array holds,
ids of other alphabets, bytes cut and flipped. A reader may raise only what it says that it raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.dlq_letters import decode_letter
from features.config import ActionConfig, AppConfig, FeaturesConfig
from features.errors import BadRowError
from features.feature_topics import FEATURE_TOPICS
from features.quality.event_columns import ColumnBuffer
from features.quality.hold_table import CONTROL_TOPIC, HoldTable
from features.quality.profile import QUALITY_TOPIC, decode_profile
from serving.announcements import decode_announcement
from serving.arms.feedback import decode_feedback
from tests.features.feature_records import categories, history, user_value
from trainer.data_orders import decode_data_order
from trainer.delta_chunks import ChunkJoiner
from trainer.errors import SampleError, VersionError
from trainer.gate_orders import decode_gate_order
from trainer.item_records import apply_item
from trainer.list_builder import ListBuilder
from trainer.samples import decode_sample, served_list

EXAMPLES = 100
"""Of each topic; `--hypothesis-seed` repeats a run."""

_IDS = ["a:b", "*", "../x", "a\r\nSET x y", "nul\x00", "\u202eadA", "{}", "x" * 10_000, "ä" * 128, "", "ﬁ", "🦊"]
_DEEP = "@deep@"
_strange = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_IDS),
    st.sampled_from([0, -1, 2**63 - 1, 2**63, -(2**63), 10**30, 1e308, -0.0, _DEEP]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.sampled_from(["positive", "", "*"]), st.one_of(st.floats(width=32), st.none()), max_size=2),
)


class Record(NamedTuple):
    """As much of a Kafka record as readers look at."""

    value: bytes | None
    offset: int = 0


def _deep(raw: bytes) -> bytes:
    return raw.replace(b'"@deep@"', b"[" * 3000 + b"]" * 3000)


@st.composite
def hostile(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """Bytes that began as a valid record."""
    content = dict(valid)
    for name in draw(st.lists(st.sampled_from([*valid, "unknown"]), max_size=3)):
        content[name] = draw(_strange)
    for name in draw(st.lists(st.sampled_from(sorted(valid)), max_size=1)):
        content.pop(name, None)
    raw = _deep(msgspec.json.encode(content))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, max(0, len(raw) - 1)))
        raw = draw(st.sampled_from([raw[:place], raw[:place] + b"\xff" + raw[place + 1 :], raw * 2, raw + b"\x00"]))
    return raw


_SAMPLE: dict[str, Any] = {
    "sample_id": "s",
    "kind": "impression",
    "request_id": "r",
    "user_id": "u",
    "feature_schema_hash": "h",
    "items": [{"item_id": "i", "position": 0, "row": [0.5, 1.0], "labels": {"positive": 1.0}}],
    "event_time_ms": 1_700_000_000_000,
    "broker_time_ms": 1_700_000_000_000,
    "served_time_ms": 1_700_000_000_000,
    "outcome": 1,
}
_EVENT = {"event_id": "e", "user_id": "u", "item_id": "i", "action": "like", "event_time_ms": 1, "context": {"a": "b"}}
_ITEM = {"item_id": "i", "title": "t", "categories": ["c"], "is_available": True, "published_time_ms": 1}
_ORDER = {
    "name": "shop",
    "order": "purge",
    "window_start_ms": 1,
    "window_end_ms": 2,
    "user_id": "u",
    "time_ms": 3,
    "idempotency_key": "k",
    "version": "1.1",
}
_PROFILE = {"window_start_ms": 1, "window_end_ms": 2, "state": "HELD", "records": 1}
_ANNOUNCEMENT = {"name": "shop", "version": "1.1", "manifest_sha256": "d", "gate": "PASSED"}
_LETTER = {"raw": "e30=", "topic": "t", "partition": 0, "offset": 1, "reason": "not_json", "record_time_ms": 1}
_ROW = msgspec.json.decode(user_value("u", **history([("i", 1)]), **categories([("c", 1, 1.0)])))


def read_sample(raw: bytes) -> None:
    """As the trainer does; what it takes is finite."""
    sample = decode_sample(raw)
    times = (sample.event_time_ms, sample.broker_time_ms or 0, sample.served_time_ms or 0)
    assert all(0 <= time_ms < 2**62 for time_ms in times)
    if sample.kind != "organic":
        found = served_list(sample, 2, "h")
        assert all(math.isfinite(number) for number in found.inputs.ravel().tolist())


def read_item(raw: bytes) -> None:
    """As the trainer does."""
    apply_item(ListBuilder(FeaturesConfig()), b"i", raw)


def read_event(raw: bytes) -> None:
    """As the quality job does."""
    buffer = ColumnBuffer(AppConfig(name="shop", actions={"like": ActionConfig(outcome="positive")}))
    buffer.append(raw, 5)
    buffer.columns()


def read_order(raw: bytes) -> None:
    """As trainer, quality job and servers do; an order that is one is sound."""
    decode_gate_order(raw, "shop")
    HoldTable("shop").apply(CONTROL_TOPIC, raw)
    order = decode_data_order(raw, "shop")
    assert order is None or order.user_id or order.window_start_ms < order.window_end_ms


def read_profile(raw: bytes) -> None:
    """As trainer and quality job do."""
    HoldTable("shop").apply(QUALITY_TOPIC, raw)
    decode_profile(raw)


def read_feature_row(raw: bytes) -> None:
    """As the ingester does, of every view."""
    for topic in FEATURE_TOPICS:
        try:
            topic.decode(b"u", raw, 1, FeaturesConfig())
        except BadRowError:
            continue


def read_delta(raw: bytes) -> None:
    """As a server does."""
    ChunkJoiner("shop").add(raw)


READERS: dict[str, tuple[dict[str, Any], Callable[[bytes], object], tuple[type[Exception], ...]]] = {
    "samples": (_SAMPLE, read_sample, (SampleError,)),
    "feedback": (_SAMPLE, decode_feedback, ()),
    "items": (_ITEM, read_item, (SampleError,)),
    "events": (_EVENT, read_event, ()),
    "control": (_ORDER, read_order, ()),
    "quality": (_PROFILE, read_profile, (msgspec.MsgspecError, UnicodeDecodeError)),
    "models": (_ANNOUNCEMENT, lambda raw: decode_announcement(Record(raw)), ()),
    "dead letters": (_LETTER, decode_letter, ()),
    "features": (_ROW, read_feature_row, ()),
    "deltas": (_ANNOUNCEMENT, read_delta, (VersionError,)),
}


@pytest.mark.parametrize("topic", READERS)
def test_no_record_ends_a_reader(topic: str) -> None:
    """Only what a reader names may come out of it, whatever it is given."""
    valid, read, named = READERS[topic]

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(hostile(valid))
    def feed(raw: bytes) -> None:
        try:
            read(raw)
        except named:
            return

    feed()


@pytest.mark.parametrize("topic", READERS)
def test_a_field_nested_a_thousand_deep_is_one_bad_record(topic: str) -> None:
    """Msgspec gives up with a `RecursionError` there, which no reader named: one record was enough to stop all."""
    valid, read, named = READERS[topic]
    raw = _deep(msgspec.json.encode({**valid, "unknown": _DEEP}))
    try:
        read(raw)
    except named:
        return
