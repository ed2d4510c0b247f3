from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServedItem(_message.Message):
    __slots__ = ("item_id", "position", "score", "propensity", "source", "row", "explored")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    row: _containers.RepeatedScalarFieldContainer[float]
    explored: bool
    def __init__(self, item_id: _Optional[str] = ..., position: _Optional[int] = ..., score: _Optional[float] = ..., propensity: _Optional[float] = ..., source: _Optional[str] = ..., row: _Optional[_Iterable[float]] = ..., explored: bool = ...) -> None: ...

class Served(_message.Message):
    __slots__ = ("request_id", "user_id", "surface", "served_time_ms", "model_version", "arm", "feature_schema_hash", "user_row", "context", "items", "learn", "experiment")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    SERVED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    USER_ROW_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    LEARN_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user_id: str
    surface: str
    served_time_ms: int
    model_version: str
    arm: str
    feature_schema_hash: str
    user_row: _containers.RepeatedScalarFieldContainer[float]
    context: _containers.ScalarMap[str, str]
    items: _containers.RepeatedCompositeFieldContainer[ServedItem]
    learn: bool
    experiment: str
    def __init__(self, request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., surface: _Optional[str] = ..., served_time_ms: _Optional[int] = ..., model_version: _Optional[str] = ..., arm: _Optional[str] = ..., feature_schema_hash: _Optional[str] = ..., user_row: _Optional[_Iterable[float]] = ..., context: _Optional[_Mapping[str, str]] = ..., items: _Optional[_Iterable[_Union[ServedItem, _Mapping]]] = ..., learn: bool = ..., experiment: _Optional[str] = ...) -> None: ...

class SampleItem(_message.Message):
    __slots__ = ("item_id", "position", "propensity", "row", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    position: int
    propensity: float
    row: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.ScalarMap[str, float]
    def __init__(self, item_id: _Optional[str] = ..., position: _Optional[int] = ..., propensity: _Optional[float] = ..., row: _Optional[_Iterable[float]] = ..., labels: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("sample_id", "kind", "request_id", "user_id", "feature_schema_hash", "user_row", "context", "items", "event_id", "action", "value", "outcome", "event_time_ms", "served_time_ms", "broker_time_ms", "label_policy")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SAMPLE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    USER_ROW_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SERVED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    BROKER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LABEL_POLICY_FIELD_NUMBER: _ClassVar[int]
    sample_id: str
    kind: str
    request_id: str
    user_id: str
    feature_schema_hash: str
    user_row: _containers.RepeatedScalarFieldContainer[float]
    context: _containers.ScalarMap[str, str]
    items: _containers.RepeatedCompositeFieldContainer[SampleItem]
    event_id: str
    action: str
    value: float
    outcome: int
    event_time_ms: int
    served_time_ms: int
    broker_time_ms: int
    label_policy: str
    def __init__(self, sample_id: _Optional[str] = ..., kind: _Optional[str] = ..., request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., feature_schema_hash: _Optional[str] = ..., user_row: _Optional[_Iterable[float]] = ..., context: _Optional[_Mapping[str, str]] = ..., items: _Optional[_Iterable[_Union[SampleItem, _Mapping]]] = ..., event_id: _Optional[str] = ..., action: _Optional[str] = ..., value: _Optional[float] = ..., outcome: _Optional[int] = ..., event_time_ms: _Optional[int] = ..., served_time_ms: _Optional[int] = ..., broker_time_ms: _Optional[int] = ..., label_policy: _Optional[str] = ...) -> None: ...
