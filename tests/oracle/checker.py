"""Holds what is in Redis and on the topics against the plain replay, field by field, and says where they differ."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mmh3
from redis import Redis

from protos import online_rows_pb2
from tests.oracle.oracle_stack import BACKFILL, DEAD_LETTERS, EVENTS, ITEMS, SAMPLES, SERVED, OracleStack, TopicLog
from tests.oracle.plain_events import Letter, Record, categories_of, events_of, lists_of
from tests.oracle.plain_replay import global_row, rows_of
from tests.oracle.plain_samples import Place, late_feedback_of, learnt_of, samples_of, told
from tests.running_stack import wait_for

TOLERANCE = 1e-9
"""Relative, for sums of weights: the order of additions moves their last digits."""
JOIN_KEYS = {
    "user_activity": "user_id",
    "user_exposure": "user_id",
    "item_activity": "item_id",
    "item_exposure": "item_id",
    "global_activity": "scope",
}
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


class OnlineReader:
    """Reads feature rows from Redis as Feast lays them: one hash an entity, values as protobuf."""

    def __init__(self, address: str, name: str) -> None:
        host, port = address.split(":")
        self._client: Any = Redis(host, int(port))
        self._project = name.replace("-", "_").encode()
        self._name = name

    def row(self, view: str, entity_id: str, fields: Iterable[str]) -> dict[str, Any]:
        """Return fields of a row by name; None where one is missing."""
        stored = self._client.hgetall(self._key(view, entity_id))
        return {name: _decoded(stored.get(_field(view, name))) for name in fields}

    def consumed(self, user_id: str) -> dict[str, int]:
        """Return the items of a user's consumed set with their times."""
        stored = self._client.zrange(f"headrace:{self._name}:consumed:{user_id}", 0, -1, withscores=True)
        return {member.decode(): int(score) for member, score in stored}

    def entities(self, prefix: str) -> set[tuple[str, str]]:
        """Return (view, entity id) of every row whose id begins with `prefix`."""
        found: set[tuple[str, str]] = set()
        for key in self._client.scan_iter(match=b"*" + prefix.encode() + b"*", count=5000):
            join_key, entity_id = _parsed_key(key, self._project)
            views = [view for view, known in JOIN_KEYS.items() if known == join_key] if join_key else []
            names = set(self._client.hkeys(key)) if views else set()
            found |= {(view, entity_id) for view in views if f"_ts:{view}".encode() in names}
        return found

    def _key(self, view: str, entity_id: str) -> bytes:
        name, entity = JOIN_KEYS[view].encode(), entity_id.encode()
        return struct.pack("<III", 1, 2, len(name)) + name + struct.pack("<II", 2, len(entity)) + entity + self._project


def _parsed_key(key: bytes, project: bytes) -> tuple[str, str]:
    for join_key in set(JOIN_KEYS.values()):
        start = struct.pack("<III", 1, 2, len(join_key)) + join_key.encode() + struct.pack("<I", 2)
        if key.startswith(start) and key.endswith(project):
            return join_key, key[len(start) + 4 : -len(project)].decode()
    return "", ""


def _field(view: str, name: str) -> bytes:
    return struct.pack("<I", mmh3.hash(f"{view}:{name}", signed=False))


def _decoded(stored: bytes | None) -> Any:
    if not stored:
        return None
    value = online_rows_pb2.Value.FromString(stored)
    found: Any = getattr(value, value.WhichOneof("val") or "int64_val")
    return list(found.val) if hasattr(found, "val") else found


class Oracle:
    """Follows the logs of a stack and judges what came out of them."""

    def __init__(self, stack: OracleStack) -> None:
        self._config: Any = stack.config
        self._inputs = {topic: TopicLog(stack.endpoints.kafka, topic) for topic in (EVENTS, BACKFILL, ITEMS, SERVED)}
        self._outputs = {topic: TopicLog(stack.endpoints.kafka, topic) for topic in (SAMPLES, DEAD_LETTERS)}
        self._records: dict[str, list[Record]] = {topic: [] for topic in (*self._inputs, *self._outputs)}
        self.online = OnlineReader(stack.endpoints.redis, stack.config["name"])

    def close(self) -> None:
        """Let go of all clients."""
        for log in (*self._inputs.values(), *self._outputs.values()):
            log.close()

    def judge(self, prefix: str) -> Findings:
        """Compare everything of one namespace; call it when the stack has settled."""
        for topic, log in (self._inputs | self._outputs).items():
            self._records[topic] += log.read_new()
        events, letters = events_of([*self._records[EVENTS], *self._records[BACKFILL]], self._config)
        own = [event for event in events if event["event_id"].startswith(prefix)]
        lists = lists_of(self._records[SERVED])
        own_lists = {name: shown for name, shown in lists.items() if name.startswith(prefix)}
        findings = Findings(events=len(own))
        rows = rows_of(own, categories_of(self._records[ITEMS]), own_lists, self._config)
        if events:
            rows["global_activity", "all"] = global_row(events, self._config)
        self._judge_rows(rows, prefix, findings)
        self._judge_consumed(rows, own, findings)
        self._judge_samples(samples_of(own, own_lists, self._config), prefix, findings)
        self._judge_letters(letters, findings)
        self._judge_late_feedback(*late_feedback_of(own, own_lists, self._config), findings)
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
        findings.equal(f"{where} number of categories", min(len(expected), limit), len(names))
        ranks = [expected[name][:2] for name in names if name in expected]
        # Equal sums may differ in their last digits, so places are compared by strength, not by name.
        strongest = sorted((numbers[:2] for numbers in expected.values()), reverse=True)[: len(names)]
        findings.equal(f"{where} order of {names}", strongest, ranks)
        for place, name in enumerate(names):
            numbers = expected.get(name, [])
            findings.values += len(numbers)
            sent = counts[7 * place : 7 * place + 7]
            # Events that changed their categories leave their rounding behind, relative to the sum of all.
            slack = TOLERANCE * max(numbers[1:], default=0.0)
            if len(numbers) != 7 or any(abs(a - b) > slack for a, b in zip(numbers, sent, strict=True)):
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
        found: dict[tuple[str, str], Any] = {}
        for record in self._records[SAMPLES]:
            sample = json.loads(record.value or b"{}")
            if sample.get("sample_id", "").startswith(prefix):
                before = found.setdefault((sample["kind"], sample["sample_id"]), sample)
                if before != sample:
                    findings.differences.append(f"sample {sample['sample_id']} came again as another one")
        learnt, taught = learnt_of(expected.values()), learnt_of(found.values())
        findings.samples, findings.labels = len(expected), len(learnt)
        for name in sorted(expected.keys() ^ found.keys()):
            findings.differences.append(f"sample {name}: {'missing' if name in expected else 'not expected'}")
        for label in sorted(learnt ^ taught):
            findings.differences.append(f"label {label}: {'missing' if label in learnt else 'not expected'}")
        for name in expected.keys() & found.keys():
            findings.equal(f"sample {name}", expected[name], told(found[name]))

    def _judge_letters(self, expected: Mapping[tuple[str, int, int], Letter], findings: Findings) -> None:
        found = dict(letter for letter in self._letters() if letter[1].reason not in _LATE_FEEDBACK)
        findings.letters = len(expected)
        for place in sorted(expected.keys() | found.keys()):
            if expected.get(place) != found.get(place):
                findings.differences.append(f"{place}: expected {expected.get(place)}, found {found.get(place)}")

    def _judge_late_feedback(self, must: Mapping[Place, Letter], may: set[Place], findings: Findings) -> None:
        """Feedback without a list, or with one that is too old; windows close by the clock, so they are waited for."""
        with contextlib.suppress(AssertionError):  # What is missing then is told below.
            wait_for(lambda: must.keys() <= dict(self._letters()).keys(), "the letters of late feedback", _WINDOWS_S)
        late = {place: letter for place, letter in self._letters() if letter.reason in _LATE_FEEDBACK}
        findings.letters += len(must)
        for place in must.keys() | (may & late.keys()):
            findings.values += 1
            letter = late.get(place)
            is_in_vain = place in may and letter is not None and letter.reason == "unknown_request"
            if letter != must.get(place) and not is_in_vain:
                findings.differences.append(f"{place}: expected {must.get(place)}, found {letter}")

    def _letters(self) -> Iterator[tuple[Place, Letter]]:
        self._records[DEAD_LETTERS] += self._outputs[DEAD_LETTERS].read_new()
        for record in self._records[DEAD_LETTERS]:
            letter = json.loads(record.value or b"{}")
            raw = base64.b64decode(letter["raw"])
            place = letter["topic"], letter["partition"], letter["offset"]
            yield place, Letter(letter["reason"], raw, letter["record_time_ms"])
