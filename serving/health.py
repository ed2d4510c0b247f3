"""Says over `grpc.health.v1` whether to send requests here."""

from __future__ import annotations

from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

ANY_QUALITY = ""
"""SERVING as soon as the fallback ladder can answer."""
FULL_QUALITY = "headrace.full"
"""SERVING only while answers are at full quality."""


class Health:
    """The two names and their states; both begin as NOT_SERVING."""

    def __init__(self) -> None:
        self.servicer = health_aio.HealthServicer()
        self.is_full = False

    async def start(self) -> None:
        """Announce that nothing can be answered yet."""
        await self._set(ANY_QUALITY, is_serving=False)
        await self._set(FULL_QUALITY, is_serving=False)

    async def can_answer(self) -> None:
        """Announce that the fallback ladder can answer."""
        await self.set_any(True)

    async def set_any(self, is_any: bool) -> None:
        """Announce whether anything is answered at all."""
        await self._set(ANY_QUALITY, is_serving=is_any)

    async def set_full(self, is_full: bool) -> None:
        """Announce whether answers are at full quality."""
        if is_full != self.is_full:
            self.is_full = is_full
            await self._set(FULL_QUALITY, is_serving=is_full)

    async def drain(self) -> None:
        """Announce, for good, that no new requests should come; call before the server stops."""
        await self.servicer.enter_graceful_shutdown()

    async def _set(self, name: str, *, is_serving: bool) -> None:
        state = HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
        await self.servicer.set(name, state)
