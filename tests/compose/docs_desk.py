"""A folder as the docs' commands take it for granted: the files that pages speak of, and `headrace` on PATH."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from compose.ports import free_ports
from tests.compose.documented_commands import DOCS, CommandTable
from tests.compose.events_files import write_csv, write_jsonl, write_parquet
from tests.compose.running_commands import ENVIRONMENT
from tests.running_stack import ROOT, wait_for
from tests.trainer.evaluation.evaluation_parts import write_lists

_START_MS = 1_767_225_600_000
"""2026-01-01."""
_ACTIONS = ("view", "click", "like", "purchase")
_UP_TO_S = 300.0


class DocsDesk:
    """The folder.

    Args:
        folder: empty.
        state: directory of a running stack, which `.headrace` and `shop/state` lead to then.
    """

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.folder = folder
        self._path = f"{self._programs()}:{os.environ['PATH']}"
        (folder / ".venv").symlink_to(sys.prefix)
        self._write_config()
        self._write_files()
        if state is None:
            self._write_feature_log()
        else:
            (folder / "shop").mkdir()
            for place in (folder / ".headrace", folder / "shop" / "state"):
                place.symlink_to(state)

    def types(self, table: CommandTable, command: str) -> str:
        """Type a command as the table has it; return what it prints.

        Raises:
            AssertionError: its exit code is none of those that are right.
        """
        typed = table.typed(command).replace("FREE", str(free_ports(1)[0]))
        environment = ENVIRONMENT | {"PATH": self._path, "PYTHONPATH": f"{ROOT}:{ENVIRONMENT['PYTHONPATH']}"}
        told = self.folder / "told.txt"
        with told.open("w") as output:
            process = subprocess.Popen(
                ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", typed),
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            if command in table.until_interrupted:
                wait_for(lambda: "READY" in told.read_text(), f"{command} is ready", _UP_TO_S)
                process.send_signal(signal.SIGINT)
            code = process.wait(_UP_TO_S)
        finally:
            process.kill()
        right = table.exit_codes.get(command, [0])
        assert code in right, f"{command}: exit code {code}, not in {right}\n{told.read_text()[-4000:]}"
        return told.read_text()

    def _programs(self) -> Path:
        """Make `headrace` and `python` of this checkout."""
        folder = self.folder / "bin"
        folder.mkdir()
        code = "import sys; sys.argv[0] = 'headrace'; from compose.cli import main; main()"
        for name, words in (("headrace", f'-c "{code}" "$@"'), ("python", '"$@"')):
            (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
            (folder / name).chmod(0o755)
        return folder

    def _write_config(self) -> None:
        """Write the shipped configuration with a mapping `shop`, as docs/events.md shows mappings."""
        data: dict[str, Any] = yaml.safe_load((ROOT / "headrace.yaml").read_text(encoding="utf-8"))
        order = {"user_id": "customer", "item_id": "sku", "action": "kind", "event_time": {"path": "at", "unit": "s"}}
        data["imports"] = {"shop": {**order, "actions": {"BUY": "purchase", "LOOK": "view"}}}
        (self.folder / "headrace.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")

    def _write_files(self) -> None:
        folder = self.folder
        write_csv(folder / "events.csv", _shop_rows(400))
        write_parquet(folder / "events.parquet", _own_rows(range(300)))
        write_parquet(folder / "events-2025.parquet", _own_rows(range(1000, 1200)))
        write_jsonl(folder / "events-2026.jsonl.gz", _own_rows(range(2000, 2100)))
        write_parquet(folder / "items.parquet", [{"item_id": f"i{n}", "categories": [f"c{n % 3}"]} for n in range(11)])
        write_lists(folder / "served.parquet", [("r1", "u1", 1, ["i1", "i2"]), ("r2", "u2", 2, ["i3", "i4"])])
        for year in (2022, 2023, 2024):
            rows = [
                {"customer": f"u{n % 5}", "sku": f"i{n % 7}", "kind": "BUY" if n % 3 else "LOOK", "at": n * 1000 + year}
                for n in range(1_600_000, 1_600_020)
            ]
            write_parquet(folder / f"{year}.parquet", rows)
        [program] = re.findall(r"```python\n# junk\.py\n(.*?)```", _page("tutorials/bad-model.md"), flags=re.DOTALL)
        (folder / "junk.py").write_text(program)

    def _write_feature_log(self) -> None:
        """Write one hour of a view as `features/feature_log_files.py` lays it."""
        hour = self.folder / ".headrace" / "feature_log" / "user_activity" / "date=2026-01-01" / "hour=10"
        hour.mkdir(parents=True)
        write_parquet(hour / "hour.parquet", [{"user_id": "ada", "event_time_ms": _START_MS}])


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _own_rows(numbers: range) -> list[dict[str, Any]]:
    """Events in our own field names, a minute apart."""
    return [
        {
            "user_id": f"u{n % 7}",
            "item_id": f"i{n * n % 11}",
            "action": _ACTIONS[n % len(_ACTIONS)],
            "event_time_ms": _START_MS + 60_000 * n,
        }
        for n in numbers
    ]


def _shop_rows(count: int) -> list[dict[str, Any]]:
    """Rows as docs/tutorials/your-data.md shows them."""
    actions = ("view", "view", "add_to_cart", "purchase")
    return [
        {
            "user": f"user-{n % 40}",
            "product": f"item-{n * 7 % 25}",
            "event": actions[n % 4],
            "time": f"2026-01-{1 + n % 28:02d}T10:{n % 60:02d}:{n % 53:02d}",
        }
        for n in range(count)
    ]
