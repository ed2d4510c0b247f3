"""`headrace backfill FILE...`: years of history into Kafka, each event with its own time, counted once.

The order of the rows does not matter: counters and histories are made of sets, whatever comes first.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compose.backfill_progress import BackfillProgress, ProgressFile, backfill_key
from compose.backfill_sender import SAVE_ROWS, WINDOW_ROWS, BackfillSender
from compose.errors import StackError, StackNotRunningError
from compose.imports.events_file import EventsFile, ImportOptions
from compose.imports.progress import every, import_progress
from compose.imports.survey import Survey
from compose.terminal_text import shown
from features.config import Endpoints
from features.kafka_connection import kafka_settings
from headrace_client import HISTORY_TOPIC, BrokerUnavailableError, EventProducer, HeadraceClientError

AGAIN = "run the same command again: it goes on behind the last acknowledged row"
_MAX_PENDING = 20_000
_BLOCK_S = 60.0
_LINGER_MS = 20
_SHOWN_EVERY = 500
_HOUR_MS = 3_600_000
_INTERRUPTED = 130


@dataclass
class FileOutcome:
    """What became of one file."""

    file: str
    rows: int = 0
    resumed_after_row: int = 0
    events: int = 0
    """Acknowledged by this run and those before it."""
    was_complete: bool = False
    """An earlier run had finished it: nothing was sent."""
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass
class BackfillSummary:
    """What a backfill did."""

    files: list[FileOutcome] = field(default_factory=list)
    sent: int = 0
    """Events acknowledged by this run."""
    wall_s: float = 0.0
    was_interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 all acknowledged, 130 interrupted; everything else is an error."""
        return _INTERRUPTED if self.was_interrupted else 0

    def to_json(self) -> dict[str, Any]:
        """Return the summary for `--json`."""
        return asdict(self) | {"events_per_s": self.sent / max(self.wall_s, 1e-9)}


@dataclass
class _Task:
    """One file, checked and ready to be sent."""

    file: EventsFile
    survey: Survey
    progress_file: ProgressFile
    start: BackfillProgress


class Backfill:
    """Sends files of history.

    Args:
        endpoints: of the stack; progress is kept in its state directory.
        options: how the files are read.
        remembered_h: how long the stack remembers event ids, in hours.
        again: send also what earlier runs have sent.
    """

    def __init__(self, endpoints: Endpoints, options: ImportOptions, remembered_h: float, again: bool = False) -> None:
        self._endpoints = endpoints
        self._options = options
        self._remembered_h = remembered_h
        self._again = again
        self._folder = Path(endpoints.state) / "backfill"
        self._progress = import_progress()
        self._keys: dict[str, Path] = {}
        self.summary = BackfillSummary()

    def run(self, paths: Sequence[Path]) -> BackfillSummary:
        """Check every file, then send one after the other.

        Raises:
            StackError: a file or Kafka cannot be used; what was acknowledged by then is written down.
        """
        started_s = time.monotonic()
        with ExitStack() as held, self._progress:
            tasks = [task for path in paths if (task := self._prepare(path, held)) is not None]
            try:
                self._send_all(tasks)
            except KeyboardInterrupt:
                self.summary.was_interrupted = True
            except HeadraceClientError as error:
                kind = StackNotRunningError if isinstance(error, BrokerUnavailableError) else StackError
                raise kind(f"{error}; {AGAIN}") from error
            finally:
                self.summary.wall_s = time.monotonic() - started_s
        return self.summary

    def _prepare(self, path: Path, held: ExitStack) -> _Task | None:
        key = backfill_key(path, self._options)
        if key in self._keys:
            raise StackError(f"{path} holds the same as {self._keys[key]}; name it once")
        self._keys[key] = path
        progress_file = ProgressFile(self._folder, key, path)
        held.callback(progress_file.close)
        start = BackfillProgress() if self._again else progress_file.load()
        if start.is_finished:
            self.summary.files.append(
                FileOutcome(str(path), start.acknowledged_rows, events=start.acknowledged_events, was_complete=True)
            )
            return None
        file = EventsFile(path, self._options)
        bar = self._progress.add_task(f"checking {path.name}", total=None)
        survey = file.survey(every(_SHOWN_EVERY, lambda row: self._progress.update(bar, completed=row)))
        self._progress.remove_task(bar)
        self._warn_of_age(path, start)
        return _Task(file, survey, progress_file, start)

    def _warn_of_age(self, path: Path, start: BackfillProgress) -> None:
        age_h = (time.time_ns() // 1_000_000 - start.updated_time_ms) / _HOUR_MS
        if start.updated_time_ms and age_h > self._remembered_h:
            print(
                f"headrace: the last run of {path} ended {age_h:.0f} h ago, but event ids are remembered for"
                f" {self._remembered_h:g} h: up to {WINDOW_ROWS + SAVE_ROWS} rows may count twice",
                file=sys.stderr,
            )

    def _send_all(self, tasks: Sequence[_Task]) -> None:
        if not tasks:
            return
        producer = EventProducer(
            self._endpoints.kafka,
            _MAX_PENDING,
            block_s=_BLOCK_S,
            linger_ms=_LINGER_MS,
            security=kafka_settings(self._endpoints.kafka_servers),
        )
        try:
            for task in tasks:
                self._send(task, producer)
        finally:
            producer.close()

    def _send(self, task: _Task, producer: EventProducer) -> None:
        name, start = task.file.path.name, task.start
        bar = self._progress.add_task(f"sending {name}", total=task.survey.rows, completed=start.acknowledged_rows)
        show = every(_SHOWN_EVERY, lambda row: self._progress.update(bar, completed=row))
        sender = BackfillSender(producer, start, task.progress_file.save, show)
        try:
            sender.send(task.file.rows())
        finally:
            done = sender.progress
            self.summary.sent += done.acknowledged_events - start.acknowledged_events
            self.summary.files.append(
                FileOutcome(
                    str(task.file.path),
                    done.acknowledged_rows,
                    start.acknowledged_rows,
                    done.acknowledged_events,
                    left_out=dict(task.survey.left_out.most_common()),
                )
            )
        self._progress.update(bar, completed=task.survey.rows)


def print_summary(summary: BackfillSummary, as_json: bool) -> None:
    """Print what a backfill did."""
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
        return
    for outcome in summary.files:
        if outcome.was_complete:
            print(f"{outcome.file} was complete: {outcome.events:,} events; --again sends them again")
            continue
        resumed = f", went on behind row {outcome.resumed_after_row:,}" if outcome.resumed_after_row else ""
        print(f"{outcome.file}: {outcome.events:,} events of {outcome.rows:,} rows acknowledged{resumed}")
        for reason, count in outcome.left_out.items():
            print(f"  {count:>12,}  left out: {shown(reason)}")
    print(f"{summary.sent:,} events into {HISTORY_TOPIC} in {summary.wall_s:.1f} s")
    if summary.exit_code:
        print(AGAIN)
