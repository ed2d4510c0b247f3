"""Servers that do not answer."""

from __future__ import annotations

from typing import Any, NoReturn

from kafka.errors import KafkaConnectionError
from redis.exceptions import ConnectionError as RedisConnectionError


def no_broker(_bootstrap: str) -> NoReturn:
    """Be no broker."""
    raise KafkaConnectionError


class _NoRedis:
    def info(self) -> NoReturn:
        """Be no Redis."""
        raise RedisConnectionError


def no_redis(**_settings: Any) -> Any:
    """Return a client whose server is not there."""
    return _NoRedis()
