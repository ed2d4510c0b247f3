"""The `imports` section of `headrace.yaml`: which column of a foreign file is which field of an event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from compose.imports.paths import parse_path
from compose.imports.shipped import NATIVE, SHIPPED
from features.config import ConfigError, StrictConfig, nearest_name, read_yaml, validate

SECTION = "imports"
_MERGED = ("actions", "context")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _parse_all(paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        parse_path(path)
    return paths


FieldPaths = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), AfterValidator(_parse_all)]
"""One path or several; the first that holds something counts."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class TimeSource(StrictConfig):
    """Where the time of an event stands, and how it is written."""

    path: FieldPaths = Field(min_length=1)
    """Column or path; the first that holds something counts."""
    unit: Literal["ms", "s", "us", "ns", "iso"] = "ms"
    """Unit since 1970, or ISO 8601 text. Real timestamps (parquet) need none."""
    format: str = ""
    """A `strptime` pattern for any other text, for example `%d.%m.%Y %H:%M`."""
    zone: str = "UTC"
    """Of times that name none."""

    @field_validator("zone")
    @classmethod
    def _exists(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{zone!r} is no time zone; write for example 'Europe/Berlin'") from error
        return zone


class MappingConfig(StrictConfig):
    """One mapping. A path is a column, `outer.inner`, or `list[key]` for lists of key/value pairs."""

    based_on: str = ""
    """A shipped mapping whose keys hold where this one says nothing; `actions` and `context` are merged."""
    user_id: FieldPaths = Field(min_length=1)
    """Who."""
    item_id: FieldPaths = Field(min_length=1)
    """With what."""
    action: FieldPaths = ()
    """What they did; may be left out with a `default_action`."""
    default_action: str = ""
    """The action of rows that name none."""
    event_time: Annotated[
        TimeSource, BeforeValidator(lambda value: {"path": value} if isinstance(value, (str, list)) else value)
    ]
    """When: a path to milliseconds, or {path, unit, format, zone}."""
    value: FieldPaths = ()
    """Rating, dwell seconds or price, by action."""
    event_id: FieldPaths = ()
    """A unique id; without one the content of the row makes it."""
    request_id: FieldPaths = ()
    """The Recommend answer this reacts to."""
    request_token: FieldPaths = ()
    """The token of that answer."""
    session_id: FieldPaths = ()
    """The session."""
    context: dict[str, FieldPaths] = Field(default_factory=dict)
    """Names of the event's context, each with its path."""
    context_map: FieldPaths = ()
    """A column that holds a whole map for the context."""
    explode: str = ""
    """A list: each element makes an event of its own, and paths below it speak of that element."""
    actions: dict[str, str] = Field(default_factory=dict)
    """The file's word for an action, and ours."""
    other_actions: Literal["keep", "skip"] = "keep"
    """What becomes of rows whose action `actions` does not name: as it is, or left out and counted."""
    where: dict[str, Texts] = Field(default_factory=dict)
    """Only rows that hold one of these texts at these paths."""
    skip_missing: tuple[Literal["user_id", "item_id", "action", "event_time"], ...] = ()
    """Rows that lack one of these fields are left out and counted instead of being refused."""
    missing_values: tuple[str, ...] = ()
    """Texts that mean "nothing", for example `(not set)`."""

    @model_validator(mode="after")
    def _is_whole(self) -> MappingConfig:
        if not self.action and not self.default_action:
            raise ValueError("give `action` (a column) or `default_action` (one action for all rows)")
        for path in (*self.where, *filter(None, [self.explode])):
            parse_path(path)
        return self


def load_mapping(config_path: Path, name: str = NATIVE) -> MappingConfig:
    """Return the mapping called `name`: of the `imports` section, else a shipped one.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    section = _section(config_path)
    if name in section:
        return _checked(config_path, name, section[name])
    if name in SHIPPED:
        return validate(dict(SHIPPED[name]), MappingConfig, name)
    known = (*section, *SHIPPED)
    raise ConfigError(f"{config_path}: no mapping {name!r} under `{SECTION}`{nearest_name(name, known)}")


def load_mappings(config_path: Path) -> dict[str, MappingConfig]:
    """Check the whole `imports` section.

    Raises:
        ConfigError: a mapping cannot be used.
    """
    return {name: _checked(config_path, name, data) for name, data in _section(config_path).items()}


def _section(config_path: Path) -> Mapping[str, Any]:
    section = read_yaml(config_path).get(SECTION) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{config_path}: {SECTION} must map names to mappings, not {section!r:.80}")
    return {str(name): data for name, data in section.items()}


def _checked(config_path: Path, name: str, data: Any) -> MappingConfig:
    where = f"{config_path}: {SECTION}.{name}"
    if not isinstance(data, dict):
        raise ConfigError(f"{where} must be a mapping with user_id, item_id, action and event_time, not {data!r:.80}")
    base_name = data.get("based_on") or ""
    if base_name and (not isinstance(base_name, str) or base_name not in SHIPPED):
        raise ConfigError(f"{where}: no shipped mapping {base_name!r}{nearest_name(str(base_name), tuple(SHIPPED))}")
    base = dict(SHIPPED.get(base_name, {}))
    merged = base | data
    for key in _MERGED:
        if isinstance(base.get(key), Mapping) and isinstance(data.get(key), Mapping):
            merged[key] = {**base[key], **data[key]}
    return validate(merged, MappingConfig, where)
