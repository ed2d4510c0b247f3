"""Signs answers: an event that carries the token back proves that its user was shown its item in that list.

    1.KEY.SERVED_TIME_MS.ARM.ITEMS.MAC

MAC is HMAC-SHA256 under the key of all before it, the request_id and the user_id. ITEMS holds eight bytes an item,
salted with the request_id: it is drawn after the list is made, so nobody can look for a second item of equal bytes
beforehand. All is base64url but the key's id and the time. `streams/java/TokenHolds.java` checks it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.config import ConfigError
from features.file_stamp import check_every, stamp_of
from features.request_keys import RequestKey, make_request_keys, read_request_keys

ITEM_BYTES = 8
_VERSION = "1"

logger = logging.getLogger(__name__)


class RequestTokens(Collector):
    """Signs with the newest key of a file that it follows.

    Args:
        path: the file; made where it is missing.

    Raises:
        ConfigError: it cannot be used. Later such a file only keeps the key as it is.
        OSError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.refusal = ""
        """Why the file as it is now was refused; empty where it holds."""
        self._path = path
        if make_request_keys(path):
            logger.warning("made a new key for request tokens; servers and streams elsewhere need the same file")
        self._stamp = stamp_of(path)
        self._use(read_request_keys(path).keys[0])

    def sign(self, request_id: str, user_id: str, item_ids: Iterable[str], served_time_ms: int, arm: str = "") -> str:
        """Return the token of an answer."""
        salt = hashlib.sha256(request_id.encode() + b"\n")
        items = b"".join(_item_bytes(salt, item_id) for item_id in item_ids)
        body = f"{_VERSION}.{self._key_id}.{served_time_ms}.{_base64(arm.encode())}.{_base64(items)}"
        mac = hmac.digest(self._secret, f"{body}\n{request_id}\n{user_id}".encode(), "sha256")
        return f"{body}.{_base64(mac)}"

    def check(self) -> None:
        """Read the file again where it changed; a wrong one is refused and the key stays."""
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        try:
            self._use(read_request_keys(self._path).keys[0])
        except ConfigError as error:
            self.refusal = str(error)
            logger.warning("kept the request key as it was: %s", error)
        else:
            self.refusal = ""
            logger.info("request tokens are signed with key %s", self._key_id)
        self._stamp = stamp

    async def follow(self, period_s: float) -> None:
        """Look at the file every `period_s`, for good."""
        await check_every(self.check, period_s)

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus scrapes."""
        help_text = "1 while the file of request keys is refused."
        yield GaugeMetricFamily("headrace_serving_request_keys_stale", help_text, value=bool(self.refusal))

    def _use(self, key: RequestKey) -> None:
        self._key_id, self._secret = key.id, key.secret_bytes()


def _item_bytes(salt: hashlib._Hash, item_id: str) -> bytes:
    digest = salt.copy()
    digest.update(item_id.encode())
    return digest.digest()[:ITEM_BYTES]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
