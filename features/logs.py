"""Log lines of every part: as text or as JSON, one a line, without secrets and without control characters."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from features.config import ConfigError, load_section
from features.request_id import REQUEST_ID
from features.strict_config import StrictConfig

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LONGEST = 8192
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRETS = (
    (re.compile(r"hr-(admin|recommend|metrics)-[A-Za-z0-9_-]{8,}"), r"hr-\1-***"),
    (re.compile(r"(?i)(bearer\s+)[^\s'\",]+"), r"\1***"),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), r"\1***@"),
    (re.compile(r"(?i)((?:password|secret|api_?key|token)['\"]?\s*[=:]\s*['\"]?)[^\s'\",;]+"), r"\1***"),
)


class LogsConfig(StrictConfig):
    """How parts log to stderr."""

    format: Literal["text", "json"] = "text"
    """`json`: one object a line, with time, level, part, logger, message and, inside a request, its id."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least of what is told."""


def sanitised(text: str, keeps_lines: bool = False) -> str:
    """Return text without secrets, and without characters by which an id could forge a line or move a cursor.

    Args:
        text: of a message, with ids of strangers in it.
        keeps_lines: whether line breaks stay, as in a traceback.
    """
    for pattern, masked in _SECRETS:
        text = pattern.sub(masked, text)
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    if not keeps_lines:
        text = text.replace("\n", "\\n")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class TextFormatter(logging.Formatter):
    """Lines for people; a traceback keeps its lines."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # The name is the base class's.
        """Return the line of a record."""
        record.message = sanitised(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # The name is the base class's.
        """Return a traceback without secrets."""
        return sanitised(super().formatException(ei), keeps_lines=True)  # type: ignore[arg-type]


class JsonFormatter(logging.Formatter):
    """Lines for machines.

    Args:
        part: who logs.
    """

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one JSON object; what is not known is left out."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": self._part,
            "logger": record.name,
            "message": sanitised(record.getMessage()),
            "request_id": REQUEST_ID.get(),
            "version": str(getattr(record, "version", "")),
        }
        if record.exc_info:
            told["error"] = sanitised(self.formatException(record.exc_info), keeps_lines=True)
        return json.dumps({key: value for key, value in told.items() if value}, ensure_ascii=False)


def set_up_logs(part: str, config_path: Path | None = None) -> None:
    """Log to stderr as `logs` of `headrace.yaml` says.

    A file that cannot be used is told by whoever reads the rest of it; until then lines are text.
    """
    config = LogsConfig()
    if config_path is not None:
        try:
            config = load_section(config_path, "logs", LogsConfig)
        except ConfigError:
            config = LogsConfig()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(part) if config.format == "json" else TextFormatter())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)
