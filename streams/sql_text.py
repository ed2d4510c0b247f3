"""Small pieces of Flink SQL text, and the names that every statement agrees on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class View:
    """A temporary view: a name and the SELECT behind it."""

    name: str
    select: str

    def statement(self) -> str:
        """Return the definition as one SQL statement."""
        return f"CREATE TEMPORARY VIEW {self.name} AS\n{self.select}"


def listed(*parts: str) -> str:
    """Join the parts that are not empty with commas, a line each."""
    return ",\n  ".join(part for part in parts if part)


def literal(text: str) -> str:
    """Quote `text` as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def options(values: dict[str, Any]) -> str:
    """Render a WITH clause's inside, in the given order; None leaves an option out."""
    return ",\n  ".join(f"{literal(key)} = {literal(str(value))}" for key, value in values.items() if value is not None)


def without_options(create_table: str) -> str:
    """Return a CREATE TABLE statement without its WITH clause: what the table means, not where it lives."""
    return create_table.partition("\n) WITH (")[0]
