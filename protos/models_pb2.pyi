from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Announcement(_message.Message):
    __slots__ = ("name", "version", "parent_version", "manifest_sha256", "created_time_ms", "newest_event_time_ms", "newest_broker_time_ms", "sample_offsets", "gate", "gate_reason")
    class SampleOffsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_BROKER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    GATE_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    parent_version: str
    manifest_sha256: str
    created_time_ms: int
    newest_event_time_ms: int
    newest_broker_time_ms: int
    sample_offsets: _containers.ScalarMap[str, int]
    gate: str
    gate_reason: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., parent_version: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., created_time_ms: _Optional[int] = ..., newest_event_time_ms: _Optional[int] = ..., newest_broker_time_ms: _Optional[int] = ..., sample_offsets: _Optional[_Mapping[str, int]] = ..., gate: _Optional[str] = ..., gate_reason: _Optional[str] = ...) -> None: ...

class FileEntry(_message.Message):
    __slots__ = ("path", "sha256", "bytes")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    path: str
    sha256: str
    bytes: int
    def __init__(self, path: _Optional[str] = ..., sha256: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class TensorEntry(_message.Message):
    __slots__ = ("dtype", "shape")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("format", "name", "version", "parent_version", "created_time_ms", "feature_service", "feature_schema_hash", "config_hash", "sample_offsets", "metrics", "files", "tensors", "canary_scores", "newest_event_time_ms", "newest_broker_time_ms", "heads", "oldest_event_time_ms", "parent_sha256", "num_items", "num_users", "delta_sha256", "delta_offset")
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
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FileEntry
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FileEntry, _Mapping]] = ...) -> None: ...
    class TensorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TensorEntry
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TensorEntry, _Mapping]] = ...) -> None: ...
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SERVICE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    CANARY_SCORES_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_BROKER_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PARENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    NUM_ITEMS_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    DELTA_SHA256_FIELD_NUMBER: _ClassVar[int]
    DELTA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    format: int
    name: str
    version: str
    parent_version: str
    created_time_ms: int
    feature_service: str
    feature_schema_hash: str
    config_hash: str
    sample_offsets: _containers.ScalarMap[str, int]
    metrics: _containers.ScalarMap[str, float]
    files: _containers.MessageMap[str, FileEntry]
    tensors: _containers.MessageMap[str, TensorEntry]
    canary_scores: _containers.RepeatedScalarFieldContainer[float]
    newest_event_time_ms: int
    newest_broker_time_ms: int
    heads: _containers.RepeatedScalarFieldContainer[str]
    oldest_event_time_ms: int
    parent_sha256: str
    num_items: int
    num_users: int
    delta_sha256: str
    delta_offset: int
    def __init__(self, format: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., parent_version: _Optional[str] = ..., created_time_ms: _Optional[int] = ..., feature_service: _Optional[str] = ..., feature_schema_hash: _Optional[str] = ..., config_hash: _Optional[str] = ..., sample_offsets: _Optional[_Mapping[str, int]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., files: _Optional[_Mapping[str, FileEntry]] = ..., tensors: _Optional[_Mapping[str, TensorEntry]] = ..., canary_scores: _Optional[_Iterable[float]] = ..., newest_event_time_ms: _Optional[int] = ..., newest_broker_time_ms: _Optional[int] = ..., heads: _Optional[_Iterable[str]] = ..., oldest_event_time_ms: _Optional[int] = ..., parent_sha256: _Optional[str] = ..., num_items: _Optional[int] = ..., num_users: _Optional[int] = ..., delta_sha256: _Optional[str] = ..., delta_offset: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("idempotency_key", "name", "order", "version", "role", "time_ms", "reason", "window_start_ms", "window_end_ms", "user_id")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_MS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    name: str
    order: str
    version: str
    role: str
    time_ms: int
    reason: str
    window_start_ms: int
    window_end_ms: int
    user_id: str
    def __init__(self, idempotency_key: _Optional[str] = ..., name: _Optional[str] = ..., order: _Optional[str] = ..., version: _Optional[str] = ..., role: _Optional[str] = ..., time_ms: _Optional[int] = ..., reason: _Optional[str] = ..., window_start_ms: _Optional[int] = ..., window_end_ms: _Optional[int] = ..., user_id: _Optional[str] = ...) -> None: ...

class DeltaHeader(_message.Message):
    __slots__ = ("name", "version", "parent_sha256", "sha256", "chunk", "chunks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    parent_sha256: str
    sha256: str
    chunk: int
    chunks: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., parent_sha256: _Optional[str] = ..., sha256: _Optional[str] = ..., chunk: _Optional[int] = ..., chunks: _Optional[int] = ...) -> None: ...
