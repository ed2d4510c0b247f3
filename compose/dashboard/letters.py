"""Messages that could not be used: the newest with their bytes, what their reason means, and how to mend them."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from compose.dlq_letters import DeadLetter, decode_letter
from compose.dlq_mend import Left, ReplayRules, prepare
from compose.terminal_text import shown_bytes
from features.config import AppConfig

_KEPT = 300
_SHOWN_BYTES = 2000
_SHOWN_A_REASON = 3
"""Letters of each reason, where all are looked at: one reason in thousands hides no other."""
_MOST_SHARED = 6

_MENDS: dict[str, tuple[str, str]] = {
    "not_json": ("The bytes are no JSON object.", "Mend the producer; bytes that are no JSON cannot be sent again."),
    "too_large": ("The record is larger than 64 KiB.", "Send less in `context`; only the beginning was kept here."),
    "too_deep": ("Objects nest deeper than 16 levels.", "Flatten what the producer puts into `context`."),
    "unknown_action": (
        "headrace.yaml declares no such action.",
        "Declare it under `actions:` and run `headrace streams upgrade`, or send the letters again under a declared "
        "name: `headrace dlq replay --reason unknown_action --rename-action OLD=NEW --dry-run`.",
    ),
    "too_old": (
        "The event is older than features.horizon_h.",
        "Check the producer's clock and units (milliseconds!); bring history in with "
        "`headrace dlq replay --reason too_old --as-history`.",
    ),
    "bad_token": (
        "The event claims a list that its token does not prove.",
        "Let the app pass on the `request_token` of the answer; check that its clock and keys are right.",
    ),
    "unknown_request": (
        "The event has counted, but no list with its request_id was served.",
        "Let the app pass on the `request_id` of the very answer; nothing needs to be sent again.",
    ),
    "after_horizon": ("The event has counted, but came too late for its list.", "Nothing needs to be sent again."),
    "bad_event_time_ms": (
        "`event_time_ms` is no whole number of milliseconds.",
        "Send milliseconds since 1970 as a number, or mend with "
        "`headrace dlq replay --reason bad_event_time_ms --set event_time_ms=MILLISECONDS`.",
    ),
    "bad_value": ("`value` is no finite number.", "Send a number without quotes, or leave the field out."),
    "bad_context": ("`context` is no object of strings.", "Send an object, or leave the field out."),
}


def mend_of(reason: str) -> tuple[str, str]:
    """Return what a reason means and what to do, a sentence or two each."""
    known = _MENDS.get(reason)
    if known is not None:
        return known
    kind, _, name = reason.partition("_")
    if kind == "missing":
        again = f"`headrace dlq replay --reason {reason} --set {name}=VALUE --dry-run`"
        return f"The field `{name}` is missing.", f"Let the producer fill it; then send the letters again: {again}."
    if kind == "bad":
        return f"The field `{name}` cannot be used.", "Ids are text of 1 to 128 bytes without control characters."
    return "The job could not use it.", "See docs/events.md for every reason."


class Letters:
    """The newest dead letters, each once.

    Args:
        app: what is declared.
    """

    def __init__(self, app: AppConfig) -> None:
        self._app = app
        self._letters: OrderedDict[tuple[str, str], DeadLetter] = OrderedDict()
        self.total = 0

    def on_record(self, value: bytes | None) -> None:
        """Take a record of the topic."""
        letter = decode_letter(value)
        if letter is None or (letter.letter_id, letter.reason) in self._letters:
            return
        self.total += 1
        self._letters[letter.letter_id, letter.reason] = letter
        if len(self._letters) > _KEPT:
            self._letters.popitem(last=False)

    def view(self, now_ms: int, reason: str = "", most: int = 30) -> dict[str, Any]:
        """Return counts by reason with their mends, and the newest letters, of one reason where it is named."""
        counts = Counter(letter.reason for letter in self._letters.values())
        rules = ReplayRules(self._app, now_ms)
        newest = [one for one in reversed(self._letters.values()) if reason in ("", one.reason)]
        chosen = newest[:most] if reason else _some_of_each(newest)[:most]
        told = [
            {"reason": name, "count": count, **_mend_json(name), "shared": shared_values(self._of(name))}
            for name, count in counts.most_common()
        ]
        return {"reasons": told, "kept": len(self._letters), "letters": [_letter_json(one, rules) for one in chosen]}

    def _of(self, reason: str) -> list[DeadLetter]:
        return [letter for letter in self._letters.values() if letter.reason == reason]


def shared_values(letters: Iterable[DeadLetter]) -> list[dict[str, Any]]:
    """Return what at least half of some letters say alike, the most frequent first: it names the producer at fault.

    Looked at are `action`, the topic and every entry of `context`, where apps say their release, page or device.
    """
    letters = list(letters)
    counts = Counter(said for letter in letters for said in _said_by(letter))
    alike = [(said, count) for said, count in counts.most_common() if 2 * count >= len(letters)]
    return [{"field": field, "value": value, "count": count} for (field, value), count in alike[:_MOST_SHARED]]


def _said_by(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    yield "topic", letter.topic
    try:
        event = json.loads(letter.raw)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return
    if isinstance(event.get("action"), str):
        yield "action", shown_bytes(event["action"].encode(errors="replace")[:100])
    context = event.get("context")
    for name, value in context.items() if isinstance(context, dict) else ():
        if isinstance(value, str):
            texts = (shown_bytes(text.encode(errors="replace")[:100]) for text in (name, value))
            yield f"context.{next(texts)}", next(texts)


def _some_of_each(newest: Iterable[DeadLetter]) -> list[DeadLetter]:
    seen: Counter[str] = Counter()
    chosen = []
    for letter in newest:
        seen[letter.reason] += 1
        if seen[letter.reason] <= _SHOWN_A_REASON:
            chosen.append(letter)
    return chosen


def _mend_json(reason: str) -> dict[str, str]:
    meaning, mend = mend_of(reason)
    return {"meaning": meaning, "mend": mend}


def _letter_json(letter: DeadLetter, rules: ReplayRules) -> dict[str, Any]:
    decided = prepare(letter, rules)
    why_not = decided.why if isinstance(decided, Left) else ""
    return {
        "letter": letter.letter_id,
        "reason": letter.reason,
        "time_ms": letter.record_time_ms,
        "bytes": len(letter.raw),
        "text": shown_bytes(letter.raw[:_SHOWN_BYTES], kept="\n\t"),
        "is_cut": len(letter.raw) > _SHOWN_BYTES,
        "why_not": why_not,
    }
