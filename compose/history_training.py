"""`headrace train --history FILE...`: what live learning begins on, learnt from files in one process.

Everything happens in memory and in one unnamed file, until one rename makes it the trainer's state: whatever ends this
earlier leaves nothing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from compose.backfill_progress import backfill_key
from compose.errors import StackError, StackRunningError, StateUsedError
from compose.held_interrupts import Held, HeldInterrupts
from compose.history_samples import SampleMaker, SampleSpill
from compose.imports.errors import BadRowError, EventsFileError
from compose.imports.events_file import EventsFile, ImportOptions
from compose.imports.progress import every, import_progress
from compose.imports.survey import BAD_ROW, Survey
from compose.terminal_text import shown, utc
from features.config import AppConfig, load_app_config, load_section
from features.label_config import Labels, load_labels
from trainer.config import TrainerConfig, config_hash
from trainer.errors import CheckpointError, SampleError, StateBusyError
from trainer.evaluation.stream import read_items
from trainer.history import Base, HistoryFile, HistoryItems, learn_history, new_learner, write_base
from trainer.online_learner import OnlineLearner
from trainer.startup import Places
from trainer.state_lock import lock_state
from trainer.version_files import LocalVersions

_SHOWN_EVERY = 500
_INTERRUPTED = 130


@dataclass(frozen=True)
class TrainOptions:
    """What is learnt, and where to."""

    config: Path
    state: Path
    imports: ImportOptions
    items: Path | None = None
    live_from_ms: int | None = None
    """The topics are learnt from here on; from the newest event of the history where it is None."""
    replace: bool = False
    """Set aside what was learnt there before."""


@dataclass
class TrainSummary:
    """What was learnt."""

    files: list[HistoryFile] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    duplicates: int = 0
    """Events whose id came before; they count and teach once."""
    items_without_event: int = 0
    first_time_ms: int = 0
    newest_time_ms: int = 0
    live_from_ms: int = 0
    forgotten_early: int = 0
    """Events that a copy through Kafka would teach again, because `learnt_once_limit` is lower than the history."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    digest: str = ""
    wall_s: float = 0.0
    was_interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 written, 130 interrupted and nothing left; everything else is an error."""
        return _INTERRUPTED if self.was_interrupted else 0

    def to_json(self) -> dict[str, Any]:
        """Return the summary for `--json`."""
        rest = {name: value for name, value in asdict(self).items() if name != "files"}
        files = [{"file": file.name, "content": file.content, "events": file.events} for file in self.files]
        return {"files": files, **rest, "samples_per_s": self.samples / max(self.wall_s, 1e-9)}


class HistoryTraining:
    """One run: files are checked, put in time order, learnt, written.

    Args:
        options: what and where to.

    Raises:
        ConfigError: the configuration cannot be used.
    """

    def __init__(self, options: TrainOptions) -> None:
        self._options = options
        self._app: AppConfig = load_app_config(options.config)
        self._labels: Labels = load_labels(options.config, self._app)
        self._config = load_section(options.config, "trainer", TrainerConfig)
        self._places = Places(options.state, LocalVersions(options.state / "models" / self._app.name))
        self._progress = import_progress()
        self._now_ms = time.time_ns() // 1_000_000
        self.summary = TrainSummary()

    def run(self, paths: Sequence[Path]) -> TrainSummary:
        """Learn the files.

        Raises:
            StackRunningError: a trainer runs on this state.
            StateUsedError: something was learnt there already.
            StackError: a file or the disk cannot be used; the state is as it was.
        """
        started_s = time.monotonic()
        try:
            with HeldInterrupts() as interrupts, self._locked(), self._progress, self._spill_file() as file:
                self._check_unused()
                spill = SampleSpill(file)
                self._read(paths, spill)
                with interrupts.held:
                    learner, base = self._learn(spill, interrupts.held)
                    self._write(learner, base)
        except KeyboardInterrupt:
            self.summary.was_interrupted = not self.summary.checkpoint
        except OSError as error:
            raise StackError(
                f"{self._options.state}: {error.strerror or error}; make room or name another --state, then run again;"
                " what was there is as it was"
            ) from error
        self.summary.wall_s = time.monotonic() - started_s
        return self.summary

    def _locked(self) -> IO[str]:
        try:
            return lock_state(self._options.state / "trainer")
        except StateBusyError as error:
            raise StackRunningError(f"{error} (`headrace down` ends that of a stack)") from error

    def _spill_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._options.state / "trainer")  # Without a name: a kill leaves nothing.

    def _check_unused(self) -> None:
        if self._places.is_used and not self._options.replace:
            raise StateUsedError(
                f"a trainer has learnt in {self._options.state / 'trainer'}; --replace sets that aside and begins on"
                " the history, or name another --state"
            )

    def _read(self, paths: Sequence[Path], spill: SampleSpill) -> None:
        maker = SampleMaker(self._app, self._now_ms)
        contents: dict[str, Path] = {}
        for path in paths:
            key = backfill_key(path, self._options.imports)
            if key in contents:
                raise EventsFileError(f"{path} holds the same as {contents[key]}; name it once")
            contents[key] = path
        files = [(key, EventsFile(path, self._options.imports)) for key, path in contents.items()]
        surveys = [self._survey(file) for _, file in files]
        for (key, file), survey in zip(files, surveys, strict=True):
            before = len(spill)
            self._spill(file, survey, maker, spill)
            self.summary.files.append(HistoryFile(file.path.name, key, len(spill) - before))
            for reason, count in survey.left_out.items():
                self.summary.left_out[reason] = self.summary.left_out.get(reason, 0) + count
        if not len(spill):
            raise EventsFileError("no event of these files can be learnt; check the files and the mapping")

    def _survey(self, file: EventsFile) -> Survey:
        bar = self._progress.add_task(f"checking {file.path.name}", total=None)
        survey = file.survey(every(_SHOWN_EVERY, lambda row: self._progress.update(bar, completed=row)))
        self._progress.remove_task(bar)
        return survey

    def _spill(self, file: EventsFile, survey: Survey, maker: SampleMaker, spill: SampleSpill) -> None:
        bar = self._progress.add_task(f"sorting {file.path.name}", total=survey.rows)
        show = every(_SHOWN_EVERY, lambda row: self._progress.update(bar, completed=row))
        for number, events in file.rows():
            for event in events:
                try:
                    spill.add(*maker.sample_of(event))
                except SampleError as error:
                    self._leave_out(f"{file.path}: row {number}: {error}", survey)
            show(number)
        self._progress.remove_task(bar)

    def _leave_out(self, problem: str, survey: Survey) -> None:
        if not self._options.imports.skip_bad:
            raise BadRowError(f"{problem}; mend it, or leave such rows out with --skip-bad")
        survey.left_out[BAD_ROW] += 1

    def _learn(self, spill: SampleSpill, held: Held) -> tuple[OnlineLearner, Base]:
        """Learn the samples; Ctrl-C comes through between two micro-batches."""
        records = read_items(self._options.items) if self._options.items else {}
        learner = new_learner(self._app, self._config, self._labels)
        items = HistoryItems(records)
        bar = self._progress.add_task("learning", total=len(spill))

        def on_learnt(done: int) -> None:
            self._progress.update(bar, completed=done)
            held.let_through()

        learn_history(learner, spill.in_time_order(), items, on_learnt)
        self._note(learner, items)
        return learner, self._base(spill, records)

    def _base(self, spill: SampleSpill, records: Mapping[str, bytes]) -> Base:
        first_ms, newest_ms = spill.times_ms
        live_from_ms = self._options.live_from_ms
        return Base(
            files=self.summary.files,
            items=sha256(b"\n".join(records.values())).hexdigest()[:16] if records else "",
            config_hash=config_hash(self._app, self._config.learner, self._labels),
            first_time_ms=first_ms,
            newest_time_ms=newest_ms,
            trained_time_ms=self._now_ms,
            live_from_ms=min(newest_ms, self._now_ms) if live_from_ms is None else live_from_ms,
        )

    def _note(self, learner: OnlineLearner, items: HistoryItems) -> None:
        self.summary.samples = learner.progress.samples
        self.summary.duplicates = learner.progress.duplicates
        self.summary.items_without_event = items.left
        self.summary.forgotten_early = learner.learnt_once.forgotten_early
        self.summary.metrics = learner.metrics.values()

    def _write(self, learner: OnlineLearner, base: Base) -> None:
        try:
            path = write_base(self._places, learner, base, self._config.keep_checkpoints)
        except CheckpointError as error:
            raise StackError(f"{error}; what was there is as it was") from error
        self.summary.checkpoint, self.summary.digest = str(path), base.digest
        self.summary.first_time_ms, self.summary.newest_time_ms = base.first_time_ms, base.newest_time_ms
        self.summary.live_from_ms = base.live_from_ms


def print_summary(summary: TrainSummary, as_json: bool) -> None:
    """Print what was learnt."""
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
        return
    if summary.was_interrupted:
        print("interrupted: nothing was written, the state is as it was")
        return
    for file in summary.files:
        print(f"{file.name}: {file.events:,} events")
    for reason, count in summary.left_out.items():
        print(f"  {count:>12,}  left out: {shown(reason)}")
    print(f"{summary.samples:,} samples ({summary.duplicates:,} repeated) learnt in {summary.wall_s:.1f} s")
    print(f"  of {utc(summary.first_time_ms)} to {utc(summary.newest_time_ms)}, into {summary.checkpoint}")
    if summary.items_without_event:
        print(f"  {summary.items_without_event:,} items without an event are left to headrace.items.v1")
    if summary.forgotten_early:
        print(
            f"  {summary.forgotten_early:,} events are more than trainer.learner.learnt_once_limit remembers: raise it"
            " before these files also go through `headrace backfill`, or they teach twice"
        )
    print(f"a trainer on this state goes on with what the topics hold from {utc(summary.live_from_ms)} on")
