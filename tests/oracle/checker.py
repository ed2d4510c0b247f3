"""Holds what is in Redis and on the topics against the plain replay, field by field, and says where they differ."""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.log_memory import LogMemory
from tests.oracle.online_reader import OnlineReader
from tests.oracle.oracle_stack import OracleStack
from tests.oracle.plain_events import Letter
from tests.oracle.plain_replay import global_row, rows_of
from tests.oracle.plain_samples import Place, late_feedback_of, learnt_of, samples_of, told
from tests.running_stack import wait_for

TOLERANCE = 1e-9
"""Relative, for sums of weights: the order of additions moves their last digits."""
_LATE_FEEDBACK = ("unknown_request", "after_horizon")
_WINDOWS_S = 90.0
_SHOWN_DIFFERENCES = 12


@dataclass
class Findings:
    """What a comparison found."""

    events: int = 0
    values: int = 0
    samples: int = 0
    labels: int = 0
    letters: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Say whether nothing differs."""
        return not self.differences

    def report(self) -> str:
        """Return the figures and the first differences."""
        figures = f"{self.events} events, {self.values} values, {self.samples} samples, {self.labels} labels"
        lines = [f"{figures}, {self.letters} dead letters: {len(self.differences)} differences"]
        return "\n".join([*lines, *(f"    {line:.400}" for line in self.differences[:_SHOWN_DIFFERENCES])])

    def equal(self, where: str, expected: object, found: object) -> None:
        """Compare one value; a list counts for each of its numbers."""
        self.values += len(expected) if isinstance(expected, list) else 1
        if not is_same(expected, found):
            self.differences.append(f"{where}: {_contrast(expected, found)}")


def _contrast(expected: object, found: object) -> str:
    """Show two values; of two lists the first place at which they differ."""
    if not isinstance(expected, list | tuple) or not isinstance(found, list | tuple):
        return f"expected {expected!r}, found {found!r}"
    pairs = enumerate(itertools.zip_longest(expected, found))
    place, (left, right) = next((n, pair) for n, pair in pairs if not is_same(*pair))
    return f"{len(expected)} expected, {len(found)} found, at {place} expected {left!r}, found {right!r}"


def is_same(expected: object, found: object) -> bool:
    """Say whether two values are equal: integers and texts exactly, floats to `TOLERANCE`."""
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return False
        return all(itertools.starmap(is_same, zip(expected, found, strict=True)))
    if isinstance(expected, float) and isinstance(found, int | float):
        return abs(expected - found) <= TOLERANCE * max(abs(expected), abs(found))
    return expected == found


def is_same_category(expected: Sequence[float], found: Sequence[float]) -> bool:
    """Compare numbers of one category; events that left it leave their rounding behind, relative to the sum of all."""
    slack = TOLERANCE * max(expected[1:], default=0.0)
    same_length = len(expected) == len(found) == 7
    return same_length and all(abs(a - b) <= slack for a, b in zip(expected, found, strict=True))


def single(number: float) -> float:
    """Round to single precision: by that categories are ordered."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


class Oracle:
    """Follows the logs of a stack and judges what came out of them."""

    def __init__(self, stack: OracleStack) -> None:
        self._config: Any = stack.config
        self.log = LogMemory(stack)
        self.online = OnlineReader(stack.endpoints.redis, stack.config["name"])

    def close(self) -> None:
        """Let go of all clients."""
        self.log.close()

    def judge(self, prefix: str) -> Findings:
        """Compare everything of one namespace; call it when the stack has settled."""
        self.log.read_on()
        own = [event for event_id, event in self.log.events.items() if event_id.startswith(prefix)]
        lists = {request_id: shown for request_id, shown in self.log.lists.items() if request_id.startswith(prefix)}
        findings = Findings(events=len(own))
        rows = rows_of(own, self.log.categories, lists, self._config)
        rows["global_activity", "all"] = global_row(list(self.log.events.values()), self._config)
        self._judge_rows(rows, prefix, findings)
        self._judge_consumed(rows, own, findings)
        self._judge_samples(samples_of(own, lists, self._config), prefix, findings)
        self._judge_letters(prefix, findings)
        self._judge_late_feedback(*late_feedback_of(own, lists, self._config), findings)
        return findings

    def _judge_rows(self, rows: Mapping[tuple[str, str], Any], prefix: str, findings: Findings) -> None:
        for (view, entity_id), expected in rows.items():
            fields = dict(expected)
            categories = fields.pop("categories", None)
            found = self.online.row(view, entity_id, [*fields, "user_category_names", "user_category_counts"])
            for name, value in fields.items():
                findings.equal(f"{view} {entity_id} {name}", value, found[name])
            if categories is not None:
                self._judge_categories(f"{view} {entity_id}", categories, found, findings)
        for view, entity_id in self.online.entities(prefix) - rows.keys():
            findings.differences.append(f"{view} {entity_id}: nothing expected, a row found")

    def _judge_categories(self, where: str, expected: Any, found: Mapping[str, Any], findings: Findings) -> None:
        names, counts = found["user_category_names"], found["user_category_counts"]
        limit = self._config["features"].get("categories_per_user", 32)
        strongest = sorted(expected, key=lambda name: (-expected[name][0], -single(expected[name][1]), name))
        findings.equal(f"{where} categories", strongest[:limit], names)
        for place, name in enumerate(names):
            numbers, sent = expected.get(name, []), counts[7 * place : 7 * place + 7]
            findings.values += len(numbers)
            if not is_same_category(numbers, sent):
                findings.differences.append(f"{where} category {name}: expected {numbers}, found {sent}")

    def _judge_consumed(self, rows: Mapping[tuple[str, str], Any], events: Sequence[Any], findings: Findings) -> None:
        """Every item that stood in a history; what never was among the newest need not be there."""
        newest_ms: dict[str, dict[str, int]] = {}
        for event in events:
            times = newest_ms.setdefault(event["user_id"], {})
            times[event["item_id"]] = max(times.get(event["item_id"], 0), event["event_time_ms"])
        for user_id, times in newest_ms.items():
            history = set(rows["user_activity", user_id]["user_history_item_ids"])
            found = self.online.consumed(user_id)
            kept = {item_id: time_ms for item_id, time_ms in found.items() if item_id in history}
            findings.equal(f"consumed {user_id}", {item_id: times[item_id] for item_id in history}, kept)
            if any(time_ms > times.get(item_id, 0) for item_id, time_ms in found.items()):
                findings.differences.append(f"consumed {user_id}: {found} is newer than {times}")

    def _judge_samples(self, expected: Mapping[tuple[str, str], Any], prefix: str, findings: Findings) -> None:
        found = {name: sample for name, sample in self.log.samples.items() if name[1].startswith(prefix)}
        changed = [sample_id for sample_id in self.log.changed_samples if sample_id.startswith(prefix)]
        findings.differences += [f"sample {sample_id} came again as another one" for sample_id in changed]
        learnt, taught = learnt_of(expected.values()), learnt_of(found.values())
        findings.samples, findings.labels = len(expected), len(learnt)
        for name in sorted(expected.keys() ^ found.keys()):
            findings.differences.append(f"sample {name}: {'missing' if name in expected else 'not expected'}")
        for label in sorted(learnt ^ taught):
            findings.differences.append(f"label {label}: {'missing' if label in learnt else 'not expected'}")
        for name in expected.keys() & found.keys():
            findings.equal(f"sample {name}", expected[name], told(found[name]))

    def _judge_letters(self, prefix: str, findings: Findings) -> None:
        """Those of all streams: not every broken record says whose it is."""
        expected, found = self.log.expected_letters, self.log.letters
        findings.letters = sum(prefix.encode() in letter.raw for letter in expected.values())
        late = {place for place, letter in found.items() if letter.reason in _LATE_FEEDBACK}
        for place in sorted(expected.keys() | (found.keys() - late)):
            if expected.get(place) != found.get(place):
                findings.differences.append(f"{place}: expected {expected.get(place)}, found {found.get(place)}")

    def _judge_late_feedback(self, must: Mapping[Place, Letter], may: set[Place], findings: Findings) -> None:
        """Feedback without a list, or with one that is too old; windows close by the clock, so they are waited for."""
        with contextlib.suppress(AssertionError):  # What is missing then is told below.
            wait_for(lambda: must.keys() <= self.log.read_letters().keys(), "letters of late feedback", _WINDOWS_S)
        late = {place: letter for place, letter in self.log.letters.items() if letter.reason in _LATE_FEEDBACK}
        findings.letters += len(must)
        for place in must.keys() | (may & late.keys()):
            findings.values += 1
            letter = late.get(place)
            is_in_vain = place in may and letter is not None and letter.reason == "unknown_request"
            if letter != must.get(place) and not is_in_vain:
                findings.differences.append(f"{place}: expected {must.get(place)}, found {letter}")
