"""What redis-py is told of a Redis: by these settings every client of ours connects that is no hand-written one."""

from __future__ import annotations

from typing import Any

from redis import ConnectionError as RedisConnectionError

from features.redis_connection import RedisSecurity, parse_address, security_of


def redis_settings(address: str) -> dict[str, Any]:
    """Return the settings of a `redis.Redis`, or of its asyncio twin, by which it reaches `address`.

    Raises:
        ValueError: the address is not `host:port`.
    """
    host, port = parse_address(address)
    settings: dict[str, Any] = {"host": host, "port": port}
    security = security_of(address)
    if security is None:
        return settings
    if security.is_tls:
        settings |= {"ssl": True, "ssl_ca_certs": security.ca or None, "ssl_check_hostname": True}
        settings |= {"ssl_certfile": security.certificate or None, "ssl_keyfile": security.key or None}
    if security.password_file:
        settings["credential_provider"] = _FileCredentials(security)
    return settings


class _FileCredentials:
    """Redis-py asks at every connect; a password that was rotated is the new one then."""

    def __init__(self, security: RedisSecurity) -> None:
        self._security = security

    def get_credentials(self) -> tuple[str, ...]:
        """Return the login.

        Raises:
            redis.ConnectionError: the password cannot be read; a client tries again then.
        """
        try:
            return self._security.credentials()
        except (OSError, UnicodeDecodeError) as error:
            path = self._security.password_file
            raise RedisConnectionError(f"cannot read redis_security.password_file {path}; mend or mount it") from error

    async def get_credentials_async(self) -> tuple[str, ...]:
        """Return the login, for the asyncio client."""
        return self.get_credentials()
