"""Columns of a parquet file, checked: every complaint names the file, the column, the first bad row and the mend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.evaluation.errors import EvaluationError

MAX_ID_BYTES = 128


class Columns:
    """A parquet file in memory.

    Args:
        path: the file.
        required: columns that it must have.

    Raises:
        EvaluationError: it cannot be read, or lacks a column.
    """

    def __init__(self, path: Path, required: Sequence[str]) -> None:
        self.path = path
        self._table = _read(path)
        missing = [name for name in required if name not in self._table.column_names]
        if missing:
            raise EvaluationError(
                f"{path} lacks the column {', '.join(missing)}; it needs {', '.join(required)} "
                f"and has {', '.join(self._table.column_names) or 'none'}"
            )

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def has(self, name: str) -> bool:
        """Say whether there is a column of this name."""
        return name in self._table.column_names

    def texts(self, name: str) -> list[str]:
        """Return a column of ids or names, which may be text or whole numbers.

        Raises:
            EvaluationError: a row is empty or longer than an id may be, or the column holds something else.
        """
        kind = self._table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            raise self._error(name, f"is {kind}, must be text or whole numbers; cast it")
        values = [str(value) if value is not None else "" for value in self._list(name)]
        for row, value in enumerate(values):
            if not 1 <= len(value.encode()) <= MAX_ID_BYTES:
                raise self._error(name, f"row {row + 1} has {len(value.encode())} bytes, must have 1 to {MAX_ID_BYTES}")
        return values

    def optional_texts(self, name: str) -> list[str]:
        """Return a column of text, empty where a row or the whole column is missing."""
        if not self.has(name):
            return [""] * len(self)
        return ["" if value is None else str(value) for value in self._list(name)]

    def times_ms(self, name: str) -> list[int]:
        """Return a column of times.

        Raises:
            EvaluationError: it is no column of whole milliseconds, or a row is empty or not positive.
        """
        kind = self._table.schema.field(name).type
        if not pa.types.is_integer(kind):
            raise self._error(name, f"is {kind}, must be whole milliseconds since 1970 (int64); convert it")
        for row, value in enumerate(values := self._list(name)):
            if value is None or value <= 0:
                raise self._error(name, f"row {row + 1} has {value}, must be milliseconds since 1970; drop the row")
        return values

    def optional_times_ms(self, name: str) -> list[int]:
        """Return a column of times, 0 where a row or the whole column is missing."""
        if not self.has(name):
            return [0] * len(self)
        if not pa.types.is_integer(kind := self._table.schema.field(name).type):
            raise self._error(name, f"is {kind}, must be whole milliseconds since 1970 (int64); convert it")
        return [value or 0 for value in self._list(name)]

    def optional_numbers(self, name: str) -> list[float | None]:
        """Return a column of numbers, None where a row or the whole column is missing.

        Raises:
            EvaluationError: it holds something else.
        """
        if not self.has(name):
            return [None] * len(self)
        kind = self._table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise self._error(name, f"is {kind}, must be numbers; cast it")
        return [None if value is None or value != value else float(value) for value in self._list(name)]

    def optional_lists(self, name: str) -> list[list[Any] | None]:
        """Return a column of lists, None where a row or the whole column is missing.

        Raises:
            EvaluationError: it holds something else.
        """
        if not self.has(name):
            return [None] * len(self)
        kind = self._table.schema.field(name).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_null(kind)):
            raise self._error(name, f"is {kind}, must be lists")
        return self._list(name)

    def values(self, name: str) -> list[Any]:
        """Return a column as it is, None where it is missing."""
        return self._list(name) if self.has(name) else [None] * len(self)

    def _list(self, name: str) -> list[Any]:
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def _error(self, name: str, what: str) -> EvaluationError:
        return EvaluationError(f"{self.path}: column {name} {what}")


def _read(path: Path) -> Any:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise EvaluationError(f"{path} does not exist; name a parquet file of events") from error
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise EvaluationError(f"cannot read {path} as parquet ({reason}); write it with pyarrow or pandas") from error
    if not table.num_rows:
        raise EvaluationError(f"{path} has no rows; give a file with at least one")
    return table
