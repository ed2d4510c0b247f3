"""What a job is before Flink sees it: names and SQL text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from streams.compiled_plan import StateRule
from streams.java_functions import FUNCTIONS
from streams.sql_text import View, without_options


@dataclass(frozen=True)
class SqlJob:
    """A job as one statement set."""

    name: str
    """Name on the cluster, and consumer group."""
    tables: Sequence[str]
    """CREATE TABLE statements."""
    views: Sequence[View]
    """Views in the order of their definition."""
    inserts: Sequence[str]
    """INSERT statements that run as one job."""
    state_rules: Sequence[StateRule]
    """How long each stateful operator keeps what was not touched; every one must be covered."""

    def fingerprint(self) -> str:
        """Return a digest of everything that shapes the compiled plan; the job's name and where tables live do not."""
        functions = [function.statement() for function in FUNCTIONS]
        tables = [without_options(table) for table in self.tables]
        parts = [*functions, *tables, *(view.statement() for view in self.views), *self.inserts]
        rules = [f"{rule.node_type} {rule.pattern} {rule.keep_ms}" for rule in self.state_rules]
        return hashlib.sha256("\n".join([*parts, *rules]).encode()).hexdigest()
