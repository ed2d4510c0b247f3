from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecayedCounts(_message.Message):
    __slots__ = ("half_life", "epoch", "events", "positives", "negatives")
    HALF_LIFE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    half_life: int
    epoch: int
    events: float
    positives: float
    negatives: float
    def __init__(self, half_life: _Optional[int] = ..., epoch: _Optional[int] = ..., events: _Optional[float] = ..., positives: _Optional[float] = ..., negatives: _Optional[float] = ...) -> None: ...

class CounterRow(_message.Message):
    __slots__ = ("entity_id", "counters", "event_time_ms")
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    counters: _containers.RepeatedCompositeFieldContainer[DecayedCounts]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., counters: _Optional[_Iterable[_Union[DecayedCounts, _Mapping]]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class CategoryCount(_message.Message):
    __slots__ = ("category", "epoch", "events", "positives", "negatives")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    category: str
    epoch: int
    events: float
    positives: float
    negatives: float
    def __init__(self, category: _Optional[str] = ..., epoch: _Optional[int] = ..., events: _Optional[float] = ..., positives: _Optional[float] = ..., negatives: _Optional[float] = ...) -> None: ...

class CategoryRow(_message.Message):
    __slots__ = ("entity_id", "categories", "event_time_ms")
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    categories: _containers.RepeatedCompositeFieldContainer[CategoryCount]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., categories: _Optional[_Iterable[_Union[CategoryCount, _Mapping]]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("item_id", "action", "event_time_ms", "event_id", "outcome")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    action: str
    event_time_ms: int
    event_id: str
    outcome: int
    def __init__(self, item_id: _Optional[str] = ..., action: _Optional[str] = ..., event_time_ms: _Optional[int] = ..., event_id: _Optional[str] = ..., outcome: _Optional[int] = ...) -> None: ...

class HistoryRow(_message.Message):
    __slots__ = ("entity_id", "entries", "event_time_ms")
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    entity_id: str
    entries: _containers.RepeatedCompositeFieldContainer[HistoryEntry]
    event_time_ms: int
    def __init__(self, entity_id: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[HistoryEntry, _Mapping]]] = ..., event_time_ms: _Optional[int] = ...) -> None: ...
