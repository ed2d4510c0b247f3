from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OffsetRange(_message.Message):
    __slots__ = ("from_offset", "to_offset")
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    from_offset: int
    to_offset: int
    def __init__(self, from_offset: _Optional[int] = ..., to_offset: _Optional[int] = ...) -> None: ...

class ValueProfile(_message.Message):
    __slots__ = ("count", "mean", "std", "min", "median", "max", "bins")
    class BinsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    count: int
    mean: float
    std: float
    min: float
    median: float
    max: float
    bins: _containers.ScalarMap[int, int]
    def __init__(self, count: _Optional[int] = ..., mean: _Optional[float] = ..., std: _Optional[float] = ..., min: _Optional[float] = ..., median: _Optional[float] = ..., max: _Optional[float] = ..., bins: _Optional[_Mapping[int, int]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("rule", "metric", "observed", "expected", "z", "text")
    RULE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    rule: str
    metric: str
    observed: float
    expected: float
    z: float
    text: str
    def __init__(self, rule: _Optional[str] = ..., metric: _Optional[str] = ..., observed: _Optional[float] = ..., expected: _Optional[float] = ..., z: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("window_start_ms", "window_end_ms", "is_final", "state", "reasons", "offsets", "records", "events", "unusable", "dead_letters", "old_dead_letters", "actions", "rates_per_s", "positives", "negatives", "duplicates", "users", "items", "new_users", "new_items", "top_user_events", "top_users_events", "top_item_events", "requests", "late", "ahead", "valued", "values", "item_buckets", "distances", "memory_s")
    class OffsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: OffsetRange
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[OffsetRange, _Mapping]] = ...) -> None: ...
    class UnusableEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DeadLettersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ActionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class RatesPerSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ValuedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ValueProfile
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ValueProfile, _Mapping]] = ...) -> None: ...
    class DistancesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class MemorySEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    WINDOW_START_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_MS_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    UNUSABLE_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    OLD_DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    RATES_PER_S_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEW_USERS_FIELD_NUMBER: _ClassVar[int]
    NEW_ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOP_USER_EVENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_USERS_EVENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_ITEM_EVENTS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    VALUED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ITEM_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    DISTANCES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_S_FIELD_NUMBER: _ClassVar[int]
    window_start_ms: int
    window_end_ms: int
    is_final: bool
    state: str
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    offsets: _containers.MessageMap[str, OffsetRange]
    records: int
    events: int
    unusable: _containers.ScalarMap[str, int]
    dead_letters: _containers.ScalarMap[str, int]
    old_dead_letters: int
    actions: _containers.ScalarMap[str, int]
    rates_per_s: _containers.ScalarMap[str, float]
    positives: int
    negatives: int
    duplicates: int
    users: int
    items: int
    new_users: int
    new_items: int
    top_user_events: int
    top_users_events: int
    top_item_events: int
    requests: int
    late: int
    ahead: int
    valued: _containers.ScalarMap[str, int]
    values: _containers.MessageMap[str, ValueProfile]
    item_buckets: _containers.RepeatedScalarFieldContainer[int]
    distances: _containers.ScalarMap[str, float]
    memory_s: _containers.ScalarMap[str, int]
    def __init__(self, window_start_ms: _Optional[int] = ..., window_end_ms: _Optional[int] = ..., is_final: bool = ..., state: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., offsets: _Optional[_Mapping[str, OffsetRange]] = ..., records: _Optional[int] = ..., events: _Optional[int] = ..., unusable: _Optional[_Mapping[str, int]] = ..., dead_letters: _Optional[_Mapping[str, int]] = ..., old_dead_letters: _Optional[int] = ..., actions: _Optional[_Mapping[str, int]] = ..., rates_per_s: _Optional[_Mapping[str, float]] = ..., positives: _Optional[int] = ..., negatives: _Optional[int] = ..., duplicates: _Optional[int] = ..., users: _Optional[int] = ..., items: _Optional[int] = ..., new_users: _Optional[int] = ..., new_items: _Optional[int] = ..., top_user_events: _Optional[int] = ..., top_users_events: _Optional[int] = ..., top_item_events: _Optional[int] = ..., requests: _Optional[int] = ..., late: _Optional[int] = ..., ahead: _Optional[int] = ..., valued: _Optional[_Mapping[str, int]] = ..., values: _Optional[_Mapping[str, ValueProfile]] = ..., item_buckets: _Optional[_Iterable[int]] = ..., distances: _Optional[_Mapping[str, float]] = ..., memory_s: _Optional[_Mapping[str, int]] = ...) -> None: ...
