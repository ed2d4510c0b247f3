"""`headrace demo`: start the stack, let the data set live, sum up, stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from compose.demo.compare import Comparison
from compose.demo.data import DataSet, load_data
from compose.demo.errors import DemoError
from compose.demo.freeze import FrozenServer, pin_model
from compose.demo.interrupts import Interrupts
from compose.demo.options import PROBE_SURFACE, VISITOR_SURFACE, DemoOptions
from compose.demo.pacing import plan_events
from compose.demo.session import DemoSession, SessionSetup
from compose.demo.stacks import DemoStack, KeptStack, OwnStack, StartView, prepare_folder, restarts_in
from compose.demo.summary import outcome_of, summary_table, write_json
from compose.demo.view import DemoView
from compose.errors import StackError
from features.config import AppConfig, ConfigError, Endpoints, load_app_config, load_endpoints

__all__ = ["DemoOptions", "run_demo"]

BAD_USAGE = 2
INTERRUPTED = 130
MOST_SPEED = 100.0
SLOW_FROM_MS = 5000.0
"""Of an event into served weights, half of all: far above what it takes where a processor is free."""
SLOW = "the trainer could not keep pace: this machine had too little processor to spare; --speed 0.5 asks for half"
NEXT = """next: your own events (docs/tutorials/your-data.md), or this shop once more and left running:
  . .venv/bin/activate && headrace demo --keep"""


def run_demo(options: DemoOptions) -> int:
    """Run the demo; return 0, 1 where requests failed or events were lost, 2 for bad usage, 130 after Ctrl-C."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # It logs every reconnect; the demo counts them.
    console = Console()
    try:
        with Interrupts() as interrupts:
            return _Demo(options, console, interrupts).run()
    except (ConfigError, DemoError) as error:
        console.print(f"headrace demo: {error}", highlight=False, markup=False, soft_wrap=True)
        return BAD_USAGE
    except StackError as error:
        console.print(f"headrace demo: {error}", highlight=False, markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("headrace demo: interrupted; every process it started has been ended")
        return INTERRUPTED


class _Demo:
    """One run of the command."""

    def __init__(self, options: DemoOptions, console: Console, interrupts: Interrupts) -> None:
        self._options = options
        self._interrupts = interrupts
        self._console = console
        self._view = DemoView(console, options.quiet)
        self._began_s = time.perf_counter()
        self._run_id = f"demo{int(time.time()):x}"

    def run(self) -> int:
        """Run from options to exit code."""
        _check_options(self._options)
        app = load_app_config(self._options.config_path)
        _check_surfaces(app, self._options.config_path)
        data = load_data(self._options.data, app.actions)
        if self._options.endpoints_path is not None:
            return self._run_on(app, data, load_endpoints(self._options.endpoints_path), suffix=f"-{self._run_id}")
        return self._run_with_stack(app, data)

    def _run_with_stack(self, app: AppConfig, data: DataSet) -> int:
        """Start a stack, run on it, and end it unless it is to be kept."""
        options = self._options
        folder = prepare_folder(options.state_dir)
        self._view.say(f"starting the stack in {folder} (logs in {folder / 'logs'})")
        stack = self._stack_in(folder)
        is_kept = False
        try:
            endpoints = stack.start()
            code = self._run_on(app, data, endpoints, stack.frozen_server(), lambda: restarts_in(folder))
            is_kept = options.keep
        finally:
            self._interrupts.ignore()
            if is_kept:
                self._view.say(f"`headrace dashboard --sign-in --state {folder}` prints the link to its page")
                self._view.say(f"the stack stays up; `headrace down --state {folder}` ends it")
            else:
                self._view.say("stopping the stack")
                stack.stop()
        if not is_kept:
            self._view.say(NEXT)
        return code

    def _stack_in(self, folder: Path) -> DemoStack:
        config_path, start_view = self._options.config_path.resolve(), StartView(self._view.say)
        if self._options.keep:
            return KeptStack(config_path, folder, start_view)
        return OwnStack(config_path, folder, start_view, with_frozen_server=self._options.compare)

    def _run_on(
        self,
        app: AppConfig,
        data: DataSet,
        endpoints: Endpoints,
        frozen: FrozenServer | None = None,
        restarts: Callable[[], Mapping[str, int]] = dict,
        suffix: str = "",
    ) -> int:
        """Run against a stack that is up, perhaps with a second server beside its own."""
        options = self._options
        admin_address = frozen.admin_address if frozen else endpoints.admin if options.freeze_model else ""
        setup = SessionSetup(
            options=options,
            app=app,
            data=data,
            plan=plan_events(data.events, app.actions, options.events, options.seed),
            endpoints=endpoints,
            run_id=self._run_id,
            user_suffix=suffix,
            frozen_address=frozen.address if frozen else "",
            freeze=(lambda: pin_model(endpoints, admin_address)) if admin_address else None,
            restarts=restarts,
        )
        if endpoints.dashboard:
            self._view.say(f"look at it live: http://{endpoints.dashboard}/")
        self._view.say(f"replaying {len(setup.plan):,} events of {data.name} at speed {options.speed:g}")
        with self._view:
            summary = self._interrupts.run(DemoSession(setup, self._view).run())
        return self._report(summary)

    def _report(self, summary: dict[str, Any]) -> int:
        """Print the summary, write it, and return the exit code."""
        summary["wall_s"] = round(time.perf_counter() - self._began_s, 2)
        comparison: Comparison | None = summary.get("compare")
        if comparison is not None:
            summary["compare"] = comparison.to_json()
        self._console.print(summary_table(summary))
        if comparison is not None:
            self._console.print(comparison.table())
        if self._options.json_path is not None:
            write_json(self._options.json_path, summary)
        outcome = outcome_of(summary)
        if outcome.exit_code:
            self._console.print(f"headrace demo: not clean: {outcome}", highlight=False)
        if (summary["event_to_served_ms"]["p50"] or 0.0) >= SLOW_FROM_MS:
            self._view.say(SLOW)
        return outcome.exit_code


def _check_options(options: DemoOptions) -> None:
    if options.events < 1:
        raise DemoError(f"--events {options.events} must be 1 or more")
    if not 0 < options.speed <= MOST_SPEED:
        raise DemoError(f"--speed {options.speed:g} must be above 0 and at most {MOST_SPEED:g}")
    if options.compare and options.endpoints_path is not None:
        raise DemoError("--compare starts a second server in a stack of its own; leave --endpoints out")
    if options.compare and options.keep:
        raise DemoError("--compare ends its second server with itself; leave --keep out")
    if options.compare and options.freeze_model:
        raise DemoError("--compare has a frozen server beside the live one; leave --freeze-model out")
    if options.json_path is not None and not options.json_path.parent.is_dir():
        raise DemoError(f"--json {options.json_path}: the folder does not exist; make it, or name another file")


def _check_surfaces(app: AppConfig, path: Path) -> None:
    if PROBE_SURFACE not in app.surfaces or app.surfaces[PROBE_SURFACE].learn:
        raise DemoError(f"{path}: the demo needs `surfaces: {{{PROBE_SURFACE}: {{learn: false}}}}` for its probes")
    if VISITOR_SURFACE not in app.surfaces:
        raise DemoError(f"{path}: the demo's visitors need `surfaces: {{{VISITOR_SURFACE}: {{learn: true}}}}`")
