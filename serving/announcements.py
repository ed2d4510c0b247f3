"""What the trainer said of its snapshots: the newest that may serve, and those that its gate holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from features.json_records import JsonDecoder
from trainer.version_files import ModelVersion

logger = logging.getLogger(__name__)

MODELS_TOPIC = "headrace.models.v1"
PASSED, HELD = "PASSED", "HELD"


class Announcement(msgspec.Struct, frozen=True):
    """What the publisher says of its newest snapshot."""

    name: str
    version: str
    manifest_sha256: str
    gate: str = PASSED
    gate_reason: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the trainer's gate asks a person to look at the version first."""
        return self.gate == HELD


class AnnouncementBook:
    """The announcements that still matter.

    Args:
        clock_s: tells the monotonic time.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.newest: Announcement | None = None
        """The newest that no gate holds."""
        self.heard_s = 0.0
        """When it was heard."""
        self.held: dict[str, Announcement] = {}
        self._digests: dict[str, str] = {}
        self._clock_s = clock_s

    def add(self, announcement: Announcement) -> bool:
        """Note an announcement; return whether it is of another snapshot that may serve.

        Raises:
            VersionError: its version is none.
        """
        ModelVersion.parse(announcement.version)
        if announcement.is_held:
            self.held[announcement.version] = announcement
            return False
        is_news = announcement != self.newest
        self.held.pop(announcement.version, None)
        self.newest, self.heard_s = announcement, self._clock_s()
        self._digests[announcement.version] = announcement.manifest_sha256
        while len(self._digests) > 1000:
            del self._digests[next(iter(self._digests))]
        return is_news

    @property
    def age_s(self) -> float:
        """How long ago the newest one was heard."""
        return self._clock_s() - self.heard_s

    def digest_of(self, version: str) -> str | None:
        """Return the announced digest of a snapshot, None where it is not known any more."""
        return self._digests.get(version)

    def newest_held(self) -> Announcement | None:
        """Return the newest that a gate holds, None where there is none."""
        return self.held[max(self.held, key=ModelVersion.parse)] if self.held else None


_decoder = JsonDecoder(Announcement)


def decode_announcement(record: Any) -> Announcement | None:
    """Decode one record of `headrace.models.v1`; tombstones and unreadable ones are skipped."""
    if record.value is None:
        return None
    try:
        return _decoder.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("skipped announcement at offset %d: %s", record.offset, error)
        return None
