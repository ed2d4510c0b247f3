from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_PREFETCH: _ClassVar[Priority]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_AVAILABLE: _ClassVar[ModelState]
    MODEL_STATE_HELD: _ClassVar[ModelState]
    MODEL_STATE_REJECTED: _ClassVar[ModelState]
    MODEL_STATE_UNLOADED: _ClassVar[ModelState]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_PREFETCH: Priority
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_AVAILABLE: ModelState
MODEL_STATE_HELD: ModelState
MODEL_STATE_REJECTED: ModelState
MODEL_STATE_UNLOADED: ModelState

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "num_items", "surface", "context", "priority", "candidate_item_ids", "exclude_item_ids", "category_filter", "include_heads")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HEADS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    num_items: int
    surface: str
    context: _containers.ScalarMap[str, str]
    priority: Priority
    candidate_item_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    category_filter: _containers.RepeatedScalarFieldContainer[str]
    include_heads: bool
    def __init__(self, user_id: _Optional[str] = ..., num_items: _Optional[int] = ..., surface: _Optional[str] = ..., context: _Optional[_Mapping[str, str]] = ..., priority: _Optional[_Union[Priority, str]] = ..., candidate_item_ids: _Optional[_Iterable[str]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., category_filter: _Optional[_Iterable[str]] = ..., include_heads: bool = ...) -> None: ...

class RankedItem(_message.Message):
    __slots__ = ("item_id", "score", "position", "source", "propensity", "heads")
    class HeadsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    position: int
    source: str
    propensity: float
    heads: _containers.ScalarMap[str, float]
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., position: _Optional[int] = ..., source: _Optional[str] = ..., propensity: _Optional[float] = ..., heads: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("request_id", "items", "model_version", "model_age_s", "arm", "degraded_reasons", "request_token", "served_time_ms", "experiment")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_AGE_S_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SERVED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    model_version: str
    model_age_s: float
    arm: str
    degraded_reasons: _containers.RepeatedScalarFieldContainer[str]
    request_token: str
    served_time_ms: int
    experiment: str
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., model_age_s: _Optional[float] = ..., arm: _Optional[str] = ..., degraded_reasons: _Optional[_Iterable[str]] = ..., request_token: _Optional[str] = ..., served_time_ms: _Optional[int] = ..., experiment: _Optional[str] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("user_id", "item_ids", "surface", "context", "include_heads")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HEADS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    surface: str
    context: _containers.ScalarMap[str, str]
    include_heads: bool
    def __init__(self, user_id: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., surface: _Optional[str] = ..., context: _Optional[_Mapping[str, str]] = ..., include_heads: bool = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("request_id", "items", "model_version", "model_age_s", "degraded_reasons", "served_time_ms", "experiment", "arm")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_AGE_S_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASONS_FIELD_NUMBER: _ClassVar[int]
    SERVED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    model_version: str
    model_age_s: float
    degraded_reasons: _containers.RepeatedScalarFieldContainer[str]
    served_time_ms: int
    experiment: str
    arm: str
    def __init__(self, request_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., model_age_s: _Optional[float] = ..., degraded_reasons: _Optional[_Iterable[str]] = ..., served_time_ms: _Optional[int] = ..., experiment: _Optional[str] = ..., arm: _Optional[str] = ...) -> None: ...

class SimilarItemsRequest(_message.Message):
    __slots__ = ("item_id", "num_items")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    num_items: int
    def __init__(self, item_id: _Optional[str] = ..., num_items: _Optional[int] = ...) -> None: ...

class SimilarItemsResponse(_message.Message):
    __slots__ = ("items", "model_version", "degraded_reasons")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASONS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    model_version: str
    degraded_reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., model_version: _Optional[str] = ..., degraded_reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelVersionStatus(_message.Message):
    __slots__ = ("version", "state", "reason", "created_time_ms", "loaded_time_ms", "newest_event_time_ms", "newest_broker_time_ms", "sample_offsets", "metrics", "is_live", "is_pinned")
    class SampleOffsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LOADED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_BROKER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IS_LIVE_FIELD_NUMBER: _ClassVar[int]
    IS_PINNED_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: ModelState
    reason: str
    created_time_ms: int
    loaded_time_ms: int
    newest_event_time_ms: int
    newest_broker_time_ms: int
    sample_offsets: _containers.ScalarMap[str, int]
    metrics: _containers.ScalarMap[str, float]
    is_live: bool
    is_pinned: bool
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., reason: _Optional[str] = ..., created_time_ms: _Optional[int] = ..., loaded_time_ms: _Optional[int] = ..., newest_event_time_ms: _Optional[int] = ..., newest_broker_time_ms: _Optional[int] = ..., sample_offsets: _Optional[_Mapping[str, int]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., is_live: bool = ..., is_pinned: bool = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("idempotency_key", "version", "canary_share")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CANARY_SHARE_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    version: str
    canary_share: float
    def __init__(self, idempotency_key: _Optional[str] = ..., version: _Optional[str] = ..., canary_share: _Optional[float] = ...) -> None: ...

class LoadModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class ReloadModelRequest(_message.Message):
    __slots__ = ("idempotency_key",)
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    def __init__(self, idempotency_key: _Optional[str] = ...) -> None: ...

class ReloadModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class RollbackModelRequest(_message.Message):
    __slots__ = ("idempotency_key", "version")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    version: str
    def __init__(self, idempotency_key: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class RollbackModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class PinModelRequest(_message.Message):
    __slots__ = ("idempotency_key", "version")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    version: str
    def __init__(self, idempotency_key: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class PinModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class UnpinModelRequest(_message.Message):
    __slots__ = ("idempotency_key",)
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    def __init__(self, idempotency_key: _Optional[str] = ...) -> None: ...

class UnpinModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class ReleaseModelRequest(_message.Message):
    __slots__ = ("idempotency_key",)
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    def __init__(self, idempotency_key: _Optional[str] = ...) -> None: ...

class ReleaseModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class RejectModelRequest(_message.Message):
    __slots__ = ("idempotency_key", "reason")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    reason: str
    def __init__(self, idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RejectModelResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: ModelVersionStatus
    def __init__(self, status: _Optional[_Union[ModelVersionStatus, _Mapping]] = ...) -> None: ...

class GetModelStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetModelStatusResponse(_message.Message):
    __slots__ = ("live", "is_following", "follow_reason", "swaps", "refused", "last_refusal", "served_log_dropped", "feature_offsets", "feature_schema_hash", "items_known", "workers", "canary", "last_canary")
    class FeatureOffsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    LIVE_FIELD_NUMBER: _ClassVar[int]
    IS_FOLLOWING_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_REASON_FIELD_NUMBER: _ClassVar[int]
    SWAPS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    LAST_REFUSAL_FIELD_NUMBER: _ClassVar[int]
    SERVED_LOG_DROPPED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    ITEMS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    LAST_CANARY_FIELD_NUMBER: _ClassVar[int]
    live: ModelVersionStatus
    is_following: bool
    follow_reason: str
    swaps: int
    refused: int
    last_refusal: str
    served_log_dropped: int
    feature_offsets: _containers.ScalarMap[str, int]
    feature_schema_hash: str
    items_known: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    canary: CanaryStatus
    last_canary: str
    def __init__(self, live: _Optional[_Union[ModelVersionStatus, _Mapping]] = ..., is_following: bool = ..., follow_reason: _Optional[str] = ..., swaps: _Optional[int] = ..., refused: _Optional[int] = ..., last_refusal: _Optional[str] = ..., served_log_dropped: _Optional[int] = ..., feature_offsets: _Optional[_Mapping[str, int]] = ..., feature_schema_hash: _Optional[str] = ..., items_known: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., canary: _Optional[_Union[CanaryStatus, _Mapping]] = ..., last_canary: _Optional[str] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("number", "pid", "state", "live_version", "restarts")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIVE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    pid: int
    state: str
    live_version: str
    restarts: int
    def __init__(self, number: _Optional[int] = ..., pid: _Optional[int] = ..., state: _Optional[str] = ..., live_version: _Optional[str] = ..., restarts: _Optional[int] = ...) -> None: ...

class CanaryStatus(_message.Message):
    __slots__ = ("version", "live_version", "share", "started_time_ms", "users", "failed_users", "ranking_ms", "reward")
    class UsersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class FailedUsersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class RankingMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class RewardEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIVE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    STARTED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    FAILED_USERS_FIELD_NUMBER: _ClassVar[int]
    RANKING_MS_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    version: str
    live_version: str
    share: float
    started_time_ms: int
    users: _containers.ScalarMap[str, int]
    failed_users: _containers.ScalarMap[str, int]
    ranking_ms: _containers.ScalarMap[str, float]
    reward: _containers.ScalarMap[str, float]
    def __init__(self, version: _Optional[str] = ..., live_version: _Optional[str] = ..., share: _Optional[float] = ..., started_time_ms: _Optional[int] = ..., users: _Optional[_Mapping[str, int]] = ..., failed_users: _Optional[_Mapping[str, int]] = ..., ranking_ms: _Optional[_Mapping[str, float]] = ..., reward: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersionStatus]
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersionStatus, _Mapping]]] = ...) -> None: ...
