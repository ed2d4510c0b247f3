"""How much waits in front of each stage, from what the demo has seen and from the files that the parts write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from compose.demo.ledger import Ledger


class _IngesterFile(msgspec.Struct):
    lag: dict[str, int] = {}


class StageLags:
    """Counts the records in front of jobs, ingester, trainer and server.

    Args:
        state_dir: where the parts write their status files.
        ledger: knows which events have no outcome yet.
    """

    def __init__(self, state_dir: Path, ledger: Ledger) -> None:
        self._ingester_file = state_dir / "ingester.json"
        self._ledger = ledger
        self._sample_ends: dict[str, int] = {}
        self._trained: Mapping[str, int] = {}
        self._announced: list[str] = []
        self._served_version = ""

    def on_sample(self, partition: str, offset: int) -> None:
        """Note a sample in Kafka."""
        self._sample_ends[partition] = offset + 1

    def on_announcement(self, version: str, next_offsets: Mapping[str, int]) -> None:
        """Note what the newest version has learnt."""
        self._trained = next_offsets
        if version not in self._announced[-1:]:  # A snapshot of a chain tells of the version of its newest delta.
            self._announced.append(version)

    def on_reply(self, version: str) -> None:
        """Note the version that the server answers with."""
        self._served_version = version

    def read(self) -> dict[str, int]:
        """Return records (server: versions) waiting per stage; a stage that nothing is known of is left out."""
        lags = {"jobs": self._ledger.num_open}
        ingester = self._ingester_lag()
        if ingester is not None:
            lags["ingester"] = ingester
        if self._trained:
            lags["trainer"] = sum(
                max(0, end - self._trained.get(partition, end)) for partition, end in self._sample_ends.items()
            )
        if self._served_version in self._announced:
            lags["server versions"] = len(self._announced) - 1 - self._announced.index(self._served_version)
        return lags

    def _ingester_lag(self) -> int | None:
        try:
            return sum(msgspec.json.decode(self._ingester_file.read_bytes(), type=_IngesterFile).lag.values())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
