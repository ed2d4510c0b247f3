"""What ops see of held windows and decide about them: `headrace quality list|release|drop`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from compose.errors import NotHeldError, StackNotRunningError
from features.kafka_connection import kafka_settings, partitions_of
from features.quality.hold_table import CLEARED, CONTROL_TOPIC, DROP_ORDER, RELEASE_ORDER, HoldTable, QualityOrder
from features.quality.profile import DROPPED, HELD, QUALITY_TOPIC, RELEASED, Profile, decode_profile

_TIMEOUT_S = 10.0
_NAMED = 5
"""Windows that an error message names."""


@dataclass(frozen=True)
class WindowReport:
    """One window that was held at some time, or any window with `--all`."""

    window_start_ms: int
    window_end_ms: int
    window: str
    """Its start as `headrace quality release` takes it."""
    state: str
    is_final: bool
    records: int
    reasons: list[str] = field(default_factory=list)


_YEAR_10000_MS = 253_402_300_800_000
"""Dates end before it."""


def window_name(start_ms: int) -> str:
    """Return a window's start in UTC, as lists show it."""
    return datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_window(text: str) -> int:
    """Return the start in milliseconds of a window named by `window_name` or by milliseconds.

    Raises:
        NotHeldError: it is neither.
    """
    if text.isdigit() and int(text) < _YEAR_10000_MS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NotHeldError(
            f"{text!r} is no window; give a start as `headrace quality list` prints it, or in milliseconds"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class QualityDesk:
    """Reads verdicts and orders of one stack, and writes orders.

    Args:
        bootstrap_servers: Kafka.
        name: model name.
    """

    def __init__(self, bootstrap_servers: str, name: str) -> None:
        self._servers = bootstrap_servers
        self._name = name

    def windows(self, limit: int, include_all: bool = False) -> list[WindowReport]:
        """Return the newest windows that are held or decided on, oldest first; with `include_all` every window.

        Raises:
            StackNotRunningError: Kafka does not answer, or there are no topics.
        """
        table, profiles = self._read()
        starts = sorted(profiles if include_all else (s for s, h in table.holds.items() if h.state != CLEARED))
        return [_report(start_ms, table, profiles) for start_ms in starts[-limit:]]

    def order(self, order: str, first_ms: int, last_ms: int, dry_run: bool = False) -> list[WindowReport]:
        """Release or drop the windows that begin from `first_ms` to `last_ms`; return them, as they will be.

        With `dry_run` nothing is ordered.

        Raises:
            NotHeldError: there is nothing to decide on.
            StackNotRunningError: Kafka does not answer.
        """
        table, profiles = self._read()
        # A dropped window is forgotten; a released one can still be dropped, which keeps late samples out.
        open_states = (HELD,) if order == RELEASE_ORDER else (HELD, RELEASED)
        starts = [s for s, h in sorted(table.holds.items()) if first_ms <= s <= last_ms and h.state in open_states]
        if not starts:
            raise NotHeldError(_why_not(order, table, first_ms, last_ms))
        if not dry_run:
            self._write([self._message(order, start_ms, table.holds[start_ms].end_ms) for start_ms in starts])
        state = RELEASED if order == RELEASE_ORDER else DROPPED
        return [replace(_report(start_ms, table, profiles), state=state) for start_ms in starts]

    def _message(self, order: str, start_ms: int, end_ms: int) -> QualityOrder:
        return QualityOrder(
            idempotency_key=f"cli-{uuid.uuid4()}",
            name=self._name,
            order=order,
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            time_ms=time.time_ns() // 1_000_000,
        )

    def _write(self, orders: Iterable[QualityOrder]) -> None:
        try:
            producer = KafkaProducer(**kafka_settings(self._servers), acks="all", max_block_ms=int(1000 * _TIMEOUT_S))
            try:
                key = self._name.encode()
                for future in [producer.send(CONTROL_TOPIC, key=key, value=msgspec.json.encode(o)) for o in orders]:
                    future.get(timeout=_TIMEOUT_S)
            finally:
                producer.close(timeout=_TIMEOUT_S)
        except KafkaError as error:
            raise self._no_answer(error) from error

    def _read(self) -> tuple[HoldTable, dict[int, Profile]]:
        """Fold both topics as they stand now."""
        table, profiles = HoldTable(self._name), {}
        for topic in (QUALITY_TOPIC, CONTROL_TOPIC):
            for value in self._values(topic):
                table.apply(topic, value)
                if topic == QUALITY_TOPIC:
                    try:
                        profile = decode_profile(value)
                    except (msgspec.MsgspecError, UnicodeDecodeError):
                        continue
                    profiles[profile.window_start_ms] = profile
        return table, profiles

    def _values(self, topic: str) -> list[bytes]:
        try:
            consumer = KafkaConsumer(
                **kafka_settings(self._servers), enable_auto_commit=False, bootstrap_timeout_ms=int(1000 * _TIMEOUT_S)
            )
            try:
                return _read_topic(consumer, topic)
            finally:
                consumer.close()
        except KafkaError as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: object) -> StackNotRunningError:
        return StackNotRunningError(f"Kafka at {self._servers} does not answer ({error}); see `headrace status`")


def _read_topic(consumer: Any, topic: str) -> list[bytes]:
    numbers = partitions_of(consumer, topic, _TIMEOUT_S)
    if not numbers:
        raise StackNotRunningError(f"topic {topic} does not exist; `headrace topics create` makes it")
    parts = [TopicPartition(topic, number) for number in numbers]
    ends = consumer.end_offsets(parts)
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    values: list[bytes] = []
    deadline_s = time.monotonic() + _TIMEOUT_S
    while any(consumer.position(part) < end for part, end in ends.items()):
        if time.monotonic() > deadline_s:
            raise StackNotRunningError(f"topic {topic} cannot be read to its end; see `headrace status`")
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records if record.value]
            deadline_s = time.monotonic() + _TIMEOUT_S
    return values


def _report(start_ms: int, table: HoldTable, profiles: dict[int, Profile]) -> WindowReport:
    hold, profile = table.holds.get(start_ms), profiles.get(start_ms)
    state = hold.state if hold is not None and hold.state != CLEARED else profile.state if profile else CLEARED
    return WindowReport(
        window_start_ms=start_ms,
        window_end_ms=hold.end_ms if hold else profile.window_end_ms if profile else start_ms,
        window=window_name(start_ms),
        state=state,
        is_final=profile.is_final if profile else False,
        records=profile.records if profile else 0,
        reasons=[reason.text for reason in profile.reasons] if profile else [],
    )


def _why_not(order: str, table: HoldTable, first_ms: int, last_ms: int) -> str:
    """Say why there is nothing to decide on, and what there is."""
    asked = window_name(first_ms) + ("" if first_ms == last_ms else f" to {window_name(last_ms)}")
    held = [window_name(s) for s, h in sorted(table.holds.items()) if h.state == HELD]
    state = table.holds[first_ms].state if first_ms in table.holds else "not held"
    verb = "release" if order == RELEASE_ORDER else "drop"
    there = f"held: {', '.join(held[-_NAMED:])}{' ...' if len(held) > _NAMED else ''}" if held else "no window is held"
    return f"nothing to {verb} at {asked} ({state.lower()}); {there}"


def print_windows(windows: list[WindowReport]) -> None:
    """Print windows for a person."""
    console = Console(highlight=False)
    if not windows:
        console.print("no window is held")
        return
    table = Table("window", "state", "records", "why", box=None, pad_edge=False)
    for window in windows:
        state = window.state if window.is_final else f"{window.state} (open)"
        table.add_row(window.window, state, f"{window.records:,}", "\n".join(window.reasons))
    console.print(table)


def to_json(windows: list[WindowReport]) -> list[dict[str, Any]]:
    """Return windows as JSON objects."""
    return [asdict(window) for window in windows]


ORDERS = {"release": RELEASE_ORDER, "drop": DROP_ORDER}
