"""The profile of one window as it travels on `headrace.quality.v1`; the schema of record is `protos/quality.proto`."""

from __future__ import annotations

import msgspec

from features.json_records import JsonDecoder

QUALITY_TOPIC = "headrace.quality.v1"

CLEAN, HELD, UNJUDGED, RELEASED, DROPPED = "CLEAN", "HELD", "UNJUDGED", "RELEASED", "DROPPED"
"""States: judged and fine; suspicious; too little to judge by; let go by ops or by time; given up by ops."""

ITEM_BUCKETS = 64
VALUE_BINS = 48


class OffsetRange(msgspec.Struct, frozen=True):
    """The records of one partition that a window consists of."""

    from_offset: int
    to_offset: int
    """Not included."""


class ValueProfile(msgspec.Struct, frozen=True):
    """The values of one action."""

    count: int
    mean: float
    std: float
    min: float
    median: float
    max: float
    bins: dict[int, int]
    """Bin -> events; bin = round(3 * asinh(value)) + 12 within 0 and 47, the empty ones left out."""


class Reason(msgspec.Struct, frozen=True):
    """Why a window is suspicious."""

    rule: str
    metric: str
    observed: float
    expected: float
    z: float
    """Robust standard deviations between the two."""
    text: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told of one window; counts unless said."""

    window_start_ms: int
    window_end_ms: int
    """Not included; both in broker time."""
    is_final: bool = False
    """False while the window is open."""
    state: str = UNJUDGED
    reasons: list[Reason] = []
    offsets: dict[str, OffsetRange] = {}
    """`topic:partition` -> records of this window."""
    records: int = 0
    events: int = 0
    """Records that can be used."""
    unusable: dict[str, int] = {}
    dead_letters: dict[str, int] = {}
    """By reason, as the feature job rejected them within the window."""
    old_dead_letters: int = 0
    """Dead letters about records of earlier windows: a job that replays; not judged."""
    actions: dict[str, int] = {}
    rates_per_s: dict[str, float] = {}
    positives: int = 0
    negatives: int = 0
    duplicates: int = 0
    """Events whose id was seen before."""
    users: int = 0
    """Distinct, likewise items."""
    items: int = 0
    new_users: int = 0
    """Distinct ones never seen before, likewise items."""
    new_items: int = 0
    top_user_events: int = 0
    top_users_events: int = 0
    """Of the ten most active users together."""
    top_item_events: int = 0
    requests: int = 0
    """Events that name the list they react to."""
    late: int = 0
    """Events older than an hour when they came."""
    ahead: int = 0
    """Events from the future, beyond the allowed clock skew."""
    valued: dict[str, int] = {}
    """Events with a value by action."""
    values: dict[str, ValueProfile] = {}
    item_buckets: list[int] = []
    """Events by hash of the item id, 64 buckets."""
    distances: dict[str, float] = {}
    """Jensen-Shannon divergence in bits to the reference, the smaller of trailing and seasonal."""
    memory_s: dict[str, int] = {}
    """How far back the memory for event, user and item ids reaches."""

    @property
    def window_ms(self) -> int:
        """Length of the window."""
        return self.window_end_ms - self.window_start_ms


def decode_profile(raw: bytes) -> Profile:
    """Decode one record of `headrace.quality.v1`.

    Raises:
        msgspec.MsgspecError: it is no profile.
    """
    return _decoder.decode(raw)


def encode_profile(profile: Profile) -> bytes:
    """Encode a profile; equal profiles give equal bytes."""
    return msgspec.json.encode(profile)


_decoder = JsonDecoder(Profile)
