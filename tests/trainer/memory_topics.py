"""The topics of versions in memory: what the publisher sends, and a follower that holds what a server would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trainer.delta_chunks import ChunkJoiner
from trainer.publisher import Announcement
from trainer.version_delta import decode_delta
from trainer.version_files import Version, read_version
from trainer.version_image import VersionImage


class MemoryTopics:
    """Takes announcements and deltas, or refuses them while it is down; see `VersionTopics`."""

    def __init__(self) -> None:
        self.is_down = False
        self.announced: list[Announcement] = []
        self.records: list[tuple[int, bytes]] = []
        """Offset and value of the deltas' records; behind each transaction stands its marker."""
        self.end = 0
        self.first = 0

    def announce(self, key: str, value: bytes) -> None:
        """Take one announcement."""
        self._answer()
        announcement = msgspec.json.decode(value, type=Announcement)
        assert key == announcement.name
        self.announced.append(announcement)

    def send_delta(self, key: str, records: Sequence[bytes]) -> int:
        """Take one delta."""
        self._answer()
        self.records += [(self.end + place, value) for place, value in enumerate(records)]
        self.end += len(records) + 1
        return self.end - 1

    def deltas_end(self) -> int:
        """Return the end."""
        self._answer()
        return self.end

    def trim_deltas(self, offset: int) -> None:
        """Forget what stands before `offset`."""
        self._answer()
        self.first = offset
        self.records = [record for record in self.records if record[0] >= offset]

    def follow(self, version: Version) -> VersionImage:
        """Return what a server holds that began with a snapshot and took every delta behind it."""
        image, joiner = VersionImage(version), ChunkJoiner(version.manifest.name)
        for offset, value in self.records:
            joined = joiner.add(value) if offset >= version.manifest.delta_offset else None
            if joined is not None:
                image.apply(decode_delta(joined.payload), joined.digest)
        return image

    def newest(self, store_dir: Path) -> VersionImage:
        """Return what a server holds that began with the newest announced snapshot."""
        said = self.announced[-1]
        return self.follow(read_version(store_dir, said.version, said.manifest_sha256))

    def _answer(self) -> None:
        if self.is_down:
            raise TimeoutError("no broker")
