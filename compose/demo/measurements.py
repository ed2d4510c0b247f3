"""What a run notes while it lives: acknowledgements, samples, announcements and answers, as they come in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from compose.demo.baselines import SentEvent
from compose.demo.feature_probe import FeatureFreshness, ReadTimes
from compose.demo.freshness import SamplePlace, ServedFreshness
from compose.demo.ledger import DEAD_LETTER, Ledger
from compose.demo.stack_client import Ack, Answer
from compose.demo.stage_lags import StageLags
from compose.demo.topic_reader import AnnouncementSeen, DeadLetterSeen, SampleSeen, Seen

FEATURE_SAMPLE_EVERY_S = 0.25
"""Between two events that are timed until their feature row is readable."""


class Measurements:
    """The books of one run; used from one event loop only.

    Args:
        state_dir: where the parts of the stack write their status files.
        read_times: reads a user's rows in the online store.
    """

    def __init__(self, state_dir: Path, read_times: ReadTimes) -> None:
        self.ledger = Ledger()
        self.lags = StageLags(state_dir, self.ledger)
        self.served = ServedFreshness(time.perf_counter)
        self.features = FeatureFreshness(read_times)
        self.sent: list[SentEvent] = []
        self.samples: Counter[str] = Counter()
        self._timed: set[asyncio.Task[None]] = set()
        self._last_timed_s = 0.0

    def note_answer(self, answer: Answer) -> None:
        """Note an answer of the live server."""
        self.served.on_reply(answer.model_version)
        self.lags.on_reply(answer.model_version)

    def note_ack(self, sent: SentEvent, ack: Ack) -> None:
        """Note an acknowledged event; now and then one is timed until its feature row is readable."""
        self.sent.append(sent)
        self.ledger.acknowledge(sent.event_id)
        self.served.track(sent.event_id, ack.acked_s)
        if ack.acked_s - self._last_timed_s >= FEATURE_SAMPLE_EVERY_S:
            self._last_timed_s = ack.acked_s
            task = asyncio.create_task(self.features.time_event(sent.user_id, sent.event_time_ms, ack.acked_s))
            self._timed.add(task)
            task.add_done_callback(self._timed.discard)

    def note_seen(self, batch: Sequence[Seen]) -> None:
        """Note what one poll of the topics brought."""
        for seen in batch:
            match seen:
                case SampleSeen(event_id, kind, partition, offset):
                    self.samples[kind] += 1
                    self.lags.on_sample(partition, offset)
                    if event_id:
                        self.ledger.record_outcome(event_id, kind)
                        self.served.on_sample(event_id, SamplePlace(partition, offset))
                case DeadLetterSeen(event_id):
                    self.ledger.record_outcome(event_id, DEAD_LETTER)
                case AnnouncementSeen(version, next_offsets):
                    self.served.on_announcement(version, next_offsets)
                    self.lags.on_announcement(version, next_offsets)

    def stop_timing(self) -> None:
        """Give up what is still being timed."""
        for task in self._timed:
            task.cancel()
