"""The part of `headrace.yaml` that every package shares, and the loader that all of them use.

Each package has its own section and its own `config.py`; this module holds what describes the app itself.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from features.conditions import Condition, parse_condition
from features.declared_features import DeclaredFeature, check_names, check_spans
from features.feature_log_config import FeatureLogConfig
from features.kafka_connection import KafkaSecurity, KafkaServers
from features.redis_connection import RedisSecurity, RedisServer
from features.strict_config import StrictConfig
from features.yaml_file import parse_yaml

__all__ = ["Condition", "StrictConfig", "parse_condition"]

SECTIONS = (
    "name",
    "actions",
    "surfaces",
    "features",
    "labels",
    "request_tokens",
    "model_store",
    "quality",
    "metrics",
    "logs",
    "imports",
    "rules",
    "streams",
    "trainer",
    "serving",
    "stack",
)
"""Top-level keys of `headrace.yaml`."""

NEUTRAL, POSITIVE, NEGATIVE = 0, 1, -1

MAX_ID_BYTES = 128
"""Of users, items, events and actions."""
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What no id and no action holds."""


class ConfigError(Exception):
    """Expected: `headrace.yaml` or the endpoints file cannot be used; the message names the key and the mend."""


class ActionConfig(StrictConfig):
    """What one action says about the item."""

    outcome: Literal["positive", "neutral", "negative"] = "neutral"
    """The outcome where no condition holds."""
    reward: float = Field(1.0, ge=0.0, le=1000.0)
    """Sample weight of a positive or negative outcome."""
    positive_when: str | None = None
    """A condition on `value`, for example `value >= 4`."""
    negative_when: str | None = None
    """A condition on `value`."""

    @field_validator("positive_when", "negative_when")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            parse_condition(text)
        return text

    def outcome_of(self, value: float | None) -> int:
        """Return 1 (positive), 0 (neutral) or -1 (negative) for an event with this `value`."""
        if self.positive_when and parse_condition(self.positive_when).holds(value):
            return POSITIVE
        if self.negative_when and parse_condition(self.negative_when).holds(value):
            return NEGATIVE
        return {"positive": POSITIVE, "neutral": NEUTRAL, "negative": NEGATIVE}[self.outcome]

    def carried_label(self, value: float | None) -> float | None:
        """Return the label that an event brings along, such as a rating: 1 or 0, None where it carries none."""
        if self.positive_when is None or value is None:
            return None
        return float(parse_condition(self.positive_when).holds(value))


class SurfaceConfig(StrictConfig):
    """A place in the app where lists are shown."""

    learn: bool = True
    """False for probes and internal pages: their lists make neither samples nor exposure."""


class CandidatesConfig(StrictConfig):
    """What a list is made of before the ranker orders it."""

    total: int = Field(200, ge=1, le=2000)
    """Candidates that are ranked."""
    categories: int = Field(3, ge=0, le=32)
    """Favourite categories of the user whose popular items are looked at."""
    tower: int = Field(20, ge=0, le=1000)
    """Places kept for the nearest by user and item vector."""
    fresh: int = Field(5, ge=0, le=32)
    """Places kept for the newest by publication time."""


class FeaturesConfig(StrictConfig):
    """Counters, histories and their bounds."""

    half_lives_s: tuple[float, ...] = (600.0, 3600.0, 86400.0, 604800.0, 5184000.0)
    """Half-lives of the forward-decayed counters in seconds, shortest first."""
    history_length: int = Field(50, ge=1, le=500)
    """Events kept per user, newest first by (event_time_ms, event_id)."""
    categories_per_user: int = Field(32, ge=1, le=256)
    """Categories kept per user in the affinity row, newest epoch and largest count first."""
    consumed_limit: int = Field(2000, ge=1, le=100_000)
    """Items a user had an event with that are kept out of that user's lists."""
    horizon_h: float = Field(24.0, gt=0, le=168)
    """Events older than this against broker time go to the DLQ as `too_old`; also the deduplication window. At most
    the seven days that the topics are kept."""
    clock_skew_s: float = Field(5.0, ge=0, le=3600)
    """Event times further ahead of broker time than this are clamped."""
    forget_after_days: float | None = Field(None, ge=7, le=3650)
    """Users and items that were silent this long are forgotten by the feature job: bounds its memory where ids come and
    go. Not given: after 80 of the longest half-lives, for ever where that is more than a year."""
    co_visitation_neighbours: int = Field(128, ge=1, le=4096)
    """Neighbours kept per item."""
    successor_neighbours: int = Field(64, ge=1, le=4096)
    """Items kept per item that came right after it."""
    feature_log: FeatureLogConfig = Field(default_factory=FeatureLogConfig)
    """Every row written online, kept in parquet files for point-in-time reads."""
    candidates: CandidatesConfig = Field(default_factory=CandidatesConfig)
    """Sizes of the candidate sources, the same for server, trainer and `evaluate`."""

    exposure_length: int = Field(200, ge=0, le=1000)
    """Newest shown items kept per user, for "shown, how often, how lately, not clicked"."""
    service_version: int = Field(2, ge=1)
    """Ends the names of the Feast services (`ranker_user_v2`): raise it to remove a declared feature."""
    declared: dict[str, DeclaredFeature] = Field(default_factory=dict)
    """Features of the app's own, by name and in the order of their names; see `docs/features.md`."""

    @field_validator("declared")
    @classmethod
    def _names_say_entities(cls, declared: dict[str, DeclaredFeature]) -> dict[str, DeclaredFeature]:
        check_names(declared)
        # Inputs, rows and weights stand in this order: moving a line of the file must not give them another meaning.
        return dict(sorted(declared.items()))

    @field_validator("half_lives_s")
    @classmethod
    def _ascend(cls, half_lives: tuple[float, ...]) -> tuple[float, ...]:
        check_spans("half_lives_s", half_lives)
        return half_lives


EPOCH_HALF_LIVES = 40
"""Length of a counter's time epoch in half-lives: 2^40 stays far from overflow, 2^-40 is what the cut loses."""


class AppConfig(StrictConfig):
    """What every part must know about the app."""

    name: str = Field("headrace", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """Model name: key of the announcements, folder in the model store."""
    actions: dict[str, ActionConfig]
    surfaces: dict[str, SurfaceConfig] = Field(default_factory=lambda: {"default": SurfaceConfig()})
    features: FeaturesConfig = Field(default_factory=FeaturesConfig)

    @field_validator("actions")
    @classmethod
    def _can_be_sent(cls, actions: dict[str, ActionConfig]) -> dict[str, ActionConfig]:
        for name in actions:
            if not 1 <= len(name.encode()) <= MAX_ID_BYTES or CONTROL_CHARACTER.search(name):
                raise ValueError(
                    f"{name!r:.60} is an action that no event can carry; name it in 1 to {MAX_ID_BYTES} bytes without "
                    "control characters"
                )
        return actions

    @model_validator(mode="after")
    def _needs_a_positive(self) -> AppConfig:
        if not any(a.outcome == "positive" or a.positive_when for a in self.actions.values()):
            raise ValueError("actions: none can be positive; give one `outcome: positive` or `positive_when`")
        return self

    @model_validator(mode="after")
    def _features_name_known_actions(self) -> AppConfig:
        for name, feature in self.features.declared.items():
            for action in (*feature.actions, *feature.positives):
                if action not in self.actions:
                    known = nearest_name(action, list(self.actions))
                    raise ValueError(f"features.declared.{name}: unknown action {action!r}{known}")
        return self


class ClientTls(StrictConfig):
    """How a client connects over TLS; paths of PEM files."""

    ca: str = ""
    """Certificates that prove the server; empty: those that gRPC ships with."""
    certificate: str = ""
    """The client's own, where the server wants one (mTLS)."""
    key: str = ""
    """Key of that certificate."""
    server_name: str = ""
    """The name in the server's certificate, where it is not the host of the address."""


class Endpoints(StrictConfig):
    """Addresses of the running parts, as `headrace up --endpoints FILE` writes them."""

    kafka: str
    """Bootstrap servers, `host:port[,host:port]`."""
    kafka_security: KafkaSecurity | None = None
    """How brokers are reached; None: plain text."""
    redis: str
    """`host:port`."""
    redis_security: RedisSecurity | None = None
    """How Redis is reached; None: plain text, without a login."""
    flink: str = ""
    """REST address of the JobManager, `host:port`."""
    serving: str = ""
    """gRPC address of the Recommender, `host:port`."""
    admin: str = ""
    """gRPC address of ModelAdmin, `host:port`."""
    dashboard: str = ""
    """HTTP address of the dashboard, `host:port`."""
    tls: ClientTls | None = None
    """How to connect to both; None: plain text."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """Part -> `host:port` of its Prometheus port; a part without one listens as `metrics` of `headrace.yaml` says."""
    status: dict[str, str] = Field(default_factory=dict)
    """Part -> `host:port` of the Prometheus port where a dashboard reads its status; else from its file in `state`."""
    metrics_token_file: str = ""
    """File with a token of role `metrics`, which those ports want; empty: they want none."""
    model_store: str
    """Where the snapshots are, directory or URI; `model_store.uri` of `headrace.yaml` comes first."""
    state: str
    """Directory for checkpoints, logs and the Feast registry."""

    def addresses(self) -> dict[str, str]:
        """Return what listens where, by name, for people; `metrics PART` for Prometheus' ports."""
        named = {name: getattr(self, name) for name in ("kafka", "redis", "flink", "serving", "admin", "dashboard")}
        return named | {f"metrics {part}": address for part, address in self.metrics.items()}

    @property
    def kafka_servers(self) -> KafkaServers:
        """What Kafka clients are given: the servers, and how they are reached."""
        return KafkaServers(self.kafka, self.kafka_security)

    @property
    def redis_server(self) -> RedisServer:
        """What Redis clients are given: the address, and how it is reached."""
        return RedisServer(self.redis, self.redis_security)


Section = TypeVar("Section", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read `headrace.yaml` and check its top-level keys.

    Raises:
        ConfigError: the file is missing, not in UTF-8, no YAML mapping, or has a key twice or an unknown section.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name another file with --config") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ConfigError(f"{path} has byte 0x{byte:02x} at {error.start}, not UTF-8; save it as UTF-8") from error
    try:
        data = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping with the keys {', '.join(SECTIONS)}")
    for key in data:
        if key not in SECTIONS:
            raise ConfigError(f"{path}: unknown key {key!r}{nearest_name(str(key), SECTIONS)}")
    return data


def load_app_config(path: Path) -> AppConfig:
    """Read the shared part of `headrace.yaml`.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    data = read_yaml(path)
    return validate({key: data[key] for key in AppConfig.model_fields if key in data}, AppConfig, str(path))


def load_section(path: Path, section: str, model: type[Section]) -> Section:
    """Read one package's section; `HEADRACE_<SECTION>_<FIELD>` in the environment overrides a scalar field.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    data = read_yaml(path).get(section) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: {section} must be a mapping of its keys to values, not {data!r:.80}")
    return validate(data | _overrides(section, model), model, f"{path}: {section}")


def _overrides(section: str, model: type[BaseModel]) -> dict[str, Any]:
    """Read the fields of a section that the environment names."""
    found: dict[str, Any] = {}
    for field in model.model_fields:
        name = f"HEADRACE_{section}_{field}".upper()
        if name in os.environ:
            try:
                found[field] = parse_yaml(os.environ[name])
            except ValueError as error:
                raise ConfigError(f"the environment's {name} is not valid YAML: {error}") from error
    return found


def load_endpoints(path: Path) -> Endpoints:
    """Read an endpoints file.

    Raises:
        ConfigError: the file or a value in it cannot be used.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the endpoints file {path} ({error}); `headrace up` writes it") from error
    return validate(data, Endpoints, str(path))


def validate(data: dict[str, Any], model: type[Section], where: str) -> Section:
    """Build `model` from `data`, or say in one sentence per problem what is wrong and what was meant.

    Raises:
        ConfigError: `data` does not fit.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_describe(problem, model) for problem in error.errors())
        raise ConfigError(f"{where}: {problems}") from error


def nearest_name(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Return ` (did you mean 'x'?)` where a known name is close, else the list of known names."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})"


def _describe(problem: Any, model: type[BaseModel]) -> str:
    """Turn one Pydantic problem into `path: message, with the nearest known name for unknown keys`."""
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "value_error":  # Our own sentence: it names the value.
        return f"{path}: {problem['ctx']['error']}" if path else str(problem["ctx"]["error"])
    if problem["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return f"{path}: unknown value {problem['input']!r:.80}{nearest_name(str(problem['input']), known)}"
    if problem["type"] != "extra_forbidden":
        if problem["loc"][-1:] == ("[key]",):  # Pydantic's word for "the name itself".
            path = ".".join([*map(str, problem["loc"][:-2]), "a name in it"])
        return f"{path or 'value'}: {_wanted(problem)} (got {problem['input']!r:.80})"
    return f"unknown key {path!r}{nearest_name(str(problem['loc'][-1]), _fields_at(model, problem['loc'][:-1]))}"


def _wanted(problem: Any) -> str:
    """Say what a value must be, in the words of YAML where it is of another kind."""
    kind, value = problem["type"], problem["input"]
    if kind in ("tuple_type", "list_type"):
        return "must be a list" if isinstance(value, dict | None) else f"must be a list, write [{value}]"
    if kind in ("dict_type", "model_type"):
        return "must be a mapping of keys to values"
    if kind == "string_type":
        # YAML reads yes, no, on and off as true and false, and 2024-01-31 as a day.
        return "must be text" if isinstance(value, list | dict | None) else "must be text, put it in quotes"
    return str(problem["msg"])


def _fields_at(model: Any, path: tuple[Any, ...]) -> list[str]:
    """List the field names of the (nested) model at `path`."""
    for part in path:
        annotation = model.model_fields[part].annotation if part in getattr(model, "model_fields", {}) else model
        arguments = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
        model = annotation if hasattr(annotation, "model_fields") else (arguments or [model])[-1]
    return list(getattr(model, "model_fields", {}))
