"""Laws of the two freshness clocks."""

from __future__ import annotations

import pytest

from compose.demo.feature_probe import FeatureFreshness, decode_int64, entity_redis_key, hash_field
from compose.demo.freshness import SamplePlace, ServedFreshness, percentiles
from tests.compose.demo_parts import FakeClock

PLACE = SamplePlace("samples:2", 41)


def served_at(clock: FakeClock) -> ServedFreshness:
    """Return books with event `e` acknowledged at second 1."""
    served = ServedFreshness(clock)
    served.track("e", acked_s=1.0)
    return served


def test_the_first_reply_that_covers_the_sample_stops_the_clock() -> None:
    """A version whose offsets end before the sample does not count, the next one does."""
    clock = FakeClock()
    served = served_at(clock)
    served.on_sample("e", PLACE)
    served.on_announcement("1.1", {"samples:2": 41})
    served.on_announcement("1.2", {"samples:2": 42})
    for clock.now_s, version in ((1.5, "1.1"), (2.5, "1.2"), (2.6, "1.2")):
        served.on_reply(version)
    assert served.latencies_ms == [1500.0]
    assert served.num_open == 0


def test_news_in_any_order_gives_the_same_time() -> None:
    """Replies may be seen before announcement and sample: the reply's own time counts."""
    clock = FakeClock()
    served = served_at(clock)
    clock.now_s = 2.0
    served.on_reply("1.2")
    clock.now_s = 3.0
    served.on_announcement("1.2", {"samples:2": 42})
    served.on_sample("e", PLACE)
    assert served.latencies_ms == [1000.0]


def test_offsets_of_another_partition_do_not_cover() -> None:
    """Being ahead elsewhere says nothing about this sample."""
    served = served_at(FakeClock())
    served.on_sample("e", PLACE)
    served.on_announcement("1.2", {"samples:1": 1000})
    served.on_reply("1.2")
    assert served.latencies_ms == []


def test_a_frozen_server_is_not_timed() -> None:
    """After freezing nothing is tracked any more."""
    served = served_at(FakeClock())
    served.freeze()
    served.track("f", acked_s=2.0)
    assert served.num_open == 0


async def test_feature_clock_stops_when_every_row_carries_the_event() -> None:
    """Both rows of the user must have reached the event's time."""
    clock = FakeClock()
    answers = iter([[0, 0], [500, 0], [500, 500]])

    async def read(user_id: str) -> list[int]:
        clock.now_s += 0.010
        return next(answers)

    freshness = FeatureFreshness(read, clock)
    await freshness.time_event("u", 500, acked_s=0.0)
    assert freshness.latencies_ms == pytest.approx([30.0])


def test_percentiles_of_nothing_are_unknown() -> None:
    """Zero would be a claim."""
    assert percentiles([]) == {"p50": None, "p99": None}


@pytest.mark.parametrize("number", [1, 127, 128, 1_764_000_000_123])
def test_int64_values_are_read_as_protobuf_writes_them(number: int) -> None:
    """Varints of any length come back."""
    varint, rest = bytearray([0x20]), number
    while rest > 0x7F:
        varint.append(rest & 0x7F | 0x80)
        rest >>= 7
    assert decode_int64(bytes([*varint, rest])) == number
    assert decode_int64(None) == 0


def test_keys_are_those_of_feast() -> None:
    """Key and field names follow Feast's own code, whatever the ids are."""
    from feast.infra.online_stores.helpers import _mmh3, _redis_key  # 4 s: only this test needs Feast.
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    for user_id in ("user-196", "zoë", "x" * 128):
        key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
        assert entity_redis_key("headrace", "user_id", user_id) == _redis_key("headrace", key, 3)
    assert hash_field("user_history", "user_history_event_time_ms") == _mmh3("user_history:user_history_event_time_ms")
    assert decode_int64(Value(int64_val=1_764_000_000_123).SerializeToString()) == 1_764_000_000_123
