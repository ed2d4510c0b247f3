from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeatureRow(_message.Message):
    __slots__ = ("entity_id", "event_time_ms", "values", "declared")
    class DeclaredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    DECLARED_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    event_time_ms: int
    values: _containers.RepeatedScalarFieldContainer[bytes]
    declared: _containers.ScalarMap[str, bytes]
    def __init__(self, entity_id: _Optional[str] = ..., event_time_ms: _Optional[int] = ..., values: _Optional[_Iterable[bytes]] = ..., declared: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class UserActivity(_message.Message):
    __slots__ = ("entity_id", "counters", "history_item_ids", "history_actions", "history_times_ms", "history_outcomes", "category_names", "category_counts", "features", "event_time_ms")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Numbers
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Numbers, _Mapping]] = ...) -> None: ...
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TIMES_MS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_NAMES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_COUNTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    counters: _containers.RepeatedScalarFieldContainer[float]
    history_item_ids: _containers.RepeatedScalarFieldContainer[str]
    history_actions: _containers.RepeatedScalarFieldContainer[str]
    history_times_ms: _containers.RepeatedScalarFieldContainer[int]
    history_outcomes: _containers.RepeatedScalarFieldContainer[int]
    category_names: _containers.RepeatedScalarFieldContainer[str]
    category_counts: _containers.RepeatedScalarFieldContainer[float]
    features: _containers.MessageMap[str, Numbers]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., counters: _Optional[_Iterable[float]] = ..., history_item_ids: _Optional[_Iterable[str]] = ..., history_actions: _Optional[_Iterable[str]] = ..., history_times_ms: _Optional[_Iterable[int]] = ..., history_outcomes: _Optional[_Iterable[int]] = ..., category_names: _Optional[_Iterable[str]] = ..., category_counts: _Optional[_Iterable[float]] = ..., features: _Optional[_Mapping[str, Numbers]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class ItemActivity(_message.Message):
    __slots__ = ("entity_id", "counters", "features", "event_time_ms")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Numbers
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Numbers, _Mapping]] = ...) -> None: ...
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    counters: _containers.RepeatedScalarFieldContainer[float]
    features: _containers.MessageMap[str, Numbers]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., counters: _Optional[_Iterable[float]] = ..., features: _Optional[_Mapping[str, Numbers]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class GlobalActivity(_message.Message):
    __slots__ = ("entity_id", "features", "event_time_ms")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Numbers
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Numbers, _Mapping]] = ...) -> None: ...
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    features: _containers.MessageMap[str, Numbers]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., features: _Optional[_Mapping[str, Numbers]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class UserExposure(_message.Message):
    __slots__ = ("entity_id", "shown_item_ids", "shown_times_ms", "event_time_ms")
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    SHOWN_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SHOWN_TIMES_MS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    shown_item_ids: _containers.RepeatedScalarFieldContainer[str]
    shown_times_ms: _containers.RepeatedScalarFieldContainer[int]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., shown_item_ids: _Optional[_Iterable[str]] = ..., shown_times_ms: _Optional[_Iterable[int]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class ItemExposure(_message.Message):
    __slots__ = ("entity_id", "exposure", "event_time_ms")
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    exposure: _containers.RepeatedScalarFieldContainer[float]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., exposure: _Optional[_Iterable[float]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...
