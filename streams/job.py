"""What a job is before Flink sees it: names and SQL text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from streams.compiled_plan import StateRule
from streams.java_functions import FUNCTIONS
from streams.sql_text import View, literal, without_options

_BOOTSTRAP = "'$kafka'"
"""Stands for Kafka's address in a job's text that outlives a start of the stack: ports change."""


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
    inputs: Sequence[str] = ()
    """Topics whose records are gone for good once retention has taken them."""
    outputs: Sequence[str] = ()
    """Topics that hold what the job computed."""
    remembers_ms: int = 0
    """For how long an input record can matter to what comes later; 0: for ever."""

    @property
    def plan_name(self) -> str:
        """What plan, checkpoints and savepoints are named by: the beginning of the fingerprint."""
        return self.fingerprint()[:16]

    def fingerprint(self) -> str:
        """Return a digest of everything that shapes the compiled plan; the job's name and where tables live do not."""
        functions = [function.statement() for function in FUNCTIONS]
        tables = [without_options(table) for table in self.tables]
        parts = [*functions, *tables, *(view.statement() for view in self.views), *self.inserts]
        rules = [f"{rule.node_type} {rule.pattern} {rule.keep_ms}" for rule in self.state_rules]
        return hashlib.sha256("\n".join([*parts, *rules]).encode()).hexdigest()

    def to_text(self, bootstrap: str) -> str:
        """Return the job as JSON that says it at any address of Kafka.

        Args:
            bootstrap: Kafka's servers, as the tables name them.
        """
        tables = [table.replace(literal(bootstrap), _BOOTSTRAP) for table in self.tables]
        return json.dumps(asdict(self) | {"tables": tables}, indent=1)

    @staticmethod
    def from_text(text: str, bootstrap: str) -> SqlJob:
        """Return the job of `to_text` with Kafka at `bootstrap`."""
        fields = json.loads(text)
        tables = [table.replace(_BOOTSTRAP, literal(bootstrap)) for table in fields.pop("tables")]
        views = [View(**view) for view in fields.pop("views")]
        rules = [StateRule(**rule | {"keep_ms": tuple(rule["keep_ms"])}) for rule in fields.pop("state_rules")]
        return SqlJob(tables=tables, views=views, state_rules=rules, **fields)
