"""The invariant checker: what must hold after any run with faults, whatever they were.

It reads what clients saw (`history.py`), the topics, Redis, and what the trainer wrote down, and returns what is wrong:

    I1   every acknowledged record lies in the log as it was sent, and comes out once: applied, duplicate or dead letter
    I2   every value in Redis equals a plain replay of the log (`tests/oracle/`)
    I3   every sample stands in exactly one batch, and every event of the samples is counted once by the learner
    I4   no request fails while the server runs
    I5   the served version never falls while the server runs
    I7   every answer is a list, whatever is down
    I12  dead letters are exactly those that there must be (`tests/oracle/`)
    I17  scores are finite, items unique, never more than were asked for
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.batch_records import BatchEntry
from trainer.sample_log import SAMPLES_TOPIC

End = Mapping[str, Any]
Place = tuple[str, int, int]


@dataclass
class Verdict:
    """What a check found wrong, and the figures of what it looked at."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Verdict) -> None:
        """Take over what another check found."""
        self.problems += other.problems
        self.figures |= other.figures


def check_acknowledged(ends: Iterable[End], log: Mapping[Place, int]) -> Verdict:
    """I1, first half: what was acknowledged lies where it was said to, byte for byte, and no two in one place.

    Args:
        ends: how each send ended, with `topic` and `crc`, and `partition` and `offset` where it was acknowledged.
        log: CRC of the value by place.
    """
    verdict, ends = Verdict(), list(ends)
    acked = [end for end in ends if end["type"] == "ok"]
    places = [(end["topic"], end["partition"], end["offset"]) for end in acked]
    for place, end in zip(places, acked, strict=True):
        if log.get(place) != end["crc"]:
            verdict.problems.append(f"I1: {place} was acknowledged, and {'is another' if place in log else 'is lost'}")
    doubled = [place for place, count in Counter(places).items() if count > 1]
    verdict.problems += [f"I1: {place} was acknowledged to two records" for place in doubled]
    verdict.figures = {"sent": len(ends), "acknowledged": len(acked)}
    verdict.figures |= {"unknown": sum(end["type"] == "info" for end in ends)}
    return verdict


def check_conserved(num_records: int, num_events: int, num_copies: int, num_rejected: int) -> Verdict:
    """I1, second half: records of events are applied, duplicates or rejected, and nothing else."""
    figures = {"applied": num_events, "duplicates": num_copies, "rejected": num_rejected}
    missing = num_records - sum(figures.values())
    problems = [f"I1: {missing} of {num_records} records are none of {figures}"] if missing else []
    return Verdict(problems, figures)


def check_learnt(entries: Sequence[object], progress_events: int, ends: Mapping[str, int], num_events: int) -> Verdict:
    """I3: each record of the samples in one batch, each event counted once.

    Args:
        entries: the whole batch log.
        progress_events: what the learner says that it counted.
        ends: where the partitions of the samples end, by `topic:partition`.
        num_events: different events in the samples topic.
    """
    counts = Counter(
        (run.name, offset)
        for entry in entries
        if isinstance(entry, BatchEntry)
        for run in entry.runs
        if run.name.startswith(SAMPLES_TOPIC)
        for offset in range(run.first, run.end)
    )
    problems = [f"I3: {name}:{offset} stands in {n} batches" for (name, offset), n in counts.items() if n > 1]
    # Markers of transactions take offsets too, but nobody writes samples in transactions.
    missing = sum(ends.values()) - len(counts)
    if missing:
        problems.append(f"I3: {missing} of {sum(ends.values())} samples stand in no batch")
    if progress_events != num_events:
        problems.append(f"I3: the learner counted {progress_events} events, the samples hold {num_events}")
    return Verdict(problems, {"samples_learnt": len(counts), "events_learnt": progress_events})


def check_answers(ends: Iterable[End], down: Sequence[tuple[float, float]]) -> Verdict:
    """I4, I5, I7 and I17 over the answers of one run, in the order in which they were asked for.

    Args:
        ends: how each request ended, with `time_s`.
        down: from when until when the server was down or stopped; nothing is asked of it there, and it may begin anew.
    """
    verdict, ends = Verdict(), sorted(ends, key=lambda end: end["time_s"])
    newest, failed = (-1, -1), 0
    for end in ends:
        is_down = any(from_s <= end["time_s"] <= until_s for from_s, until_s in down)
        if is_down:
            newest = (-1, -1)
        if end["type"] != "ok":
            failed += 1
            if not is_down:
                verdict.problems.append(f"I4: {end['op']} ended with {end.get('code', 'nothing')}")
            continue
        if not end["is_sound"]:
            verdict.problems.append(f"I17: {end['op']} is no sound list: {end}")
        if end["version"]:
            version = version_of(end["version"])
            if version < newest and not is_down:
                verdict.problems.append(f"I5: {end['op']} came from {end['version']} behind {newest}")
            newest = version
        elif not end["reasons"]:
            verdict.problems.append(f"I7: {end['op']} came from no model and says no reason")
    latencies = sorted(end["ms"] for end in ends if end["type"] == "ok") or [0.0]
    verdict.figures = {
        "answers": len(ends) - failed,
        "failed_while_down": failed,
        "degraded": sum(bool(end.get("reasons")) for end in ends),
        "p99_ms": latencies[int(len(latencies) * 0.99) - 1],
    }
    return verdict


def version_of(text: str) -> tuple[int, int]:
    """Split EPOCH.SEQ."""
    epoch, sequence = text.split(".")
    return int(epoch), int(sequence)


def crc_of(value: bytes | None) -> int:
    """Return what stands for a value in histories and logs."""
    return zlib.crc32(value or b"")
