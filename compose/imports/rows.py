"""The rows of a file one after the other, never the whole file in memory."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from compose.imports.errors import EventsFileError

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A line that is no row."""

    reason: str


_Reader = Callable[[Path, Collection[str], Callable[[Collection[str]], object]], Iterator["Row | UnreadableRow"]]
_BATCH_ROWS = 8192


def read_rows(
    path: Path, columns: Collection[str], check: Callable[[Collection[str]], object]
) -> Iterator[Row | UnreadableRow]:
    """Yield the rows of a file in its own order.

    Args:
        path: parquet, JSON lines (.jsonl, .ndjson, .json) or CSV; the text formats may be gzipped (.gz).
        columns: columns that are wanted; formats that can leave the others alone do.
        check: told the columns of formats that have a header, before the first row.

    Raises:
        EventsFileError: the file cannot be read.
    """
    readers: dict[str, _Reader] = {".parquet": _parquet_rows, ".csv": _csv_rows}
    readers |= dict.fromkeys((".jsonl", ".ndjson", ".json"), _json_rows)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind not in readers or (kind == ".parquet" and suffixes[-1] == ".gz"):
        raise EventsFileError(
            f"{path} has no known ending; give one of {', '.join(readers)} (all but parquet also with .gz)"
        )
    try:
        yield from readers[kind](path, columns, check)
    except OSError as error:
        raise EventsFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error, EOFError, pa.ArrowException) as error:
        raise EventsFileError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def _parquet_rows(path: Path, columns: Collection[str], check: Callable[[Collection[str]], object]) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        check(names)
        for batch in file.iter_batches(_BATCH_ROWS, columns=[name for name in names if name in columns]):
            yield from batch.to_pylist()


def _csv_rows(path: Path, _columns: Collection[str], check: Callable[[Collection[str]], object]) -> Iterator[Row]:
    with _opened(path) as binary:
        lines = (line.decode() for line in binary)
        reader = csv.DictReader(lines)
        check([name.removeprefix("\ufeff") for name in reader.fieldnames or ()])
        if reader.fieldnames:  # Spreadsheets write a byte order mark in front of the first name.
            reader.fieldnames = [name.removeprefix("\ufeff") for name in reader.fieldnames]
        yield from reader


def _json_rows(
    path: Path, _columns: Collection[str], _check: Callable[[Collection[str]], object]
) -> Iterator[Row | UnreadableRow]:
    decode = msgspec.json.Decoder().decode
    with _opened(path) as lines:
        for line in lines:
            try:
                row = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield UnreadableRow(f"is not JSON: {error}")
                continue
            if isinstance(row, dict):
                yield row
            else:
                yield UnreadableRow(f"must be a JSON object, not {type(row).__name__}")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rb") as file:
            yield file  # type: ignore[misc]  # A GzipFile reads as a binary file does.
    else:
        with path.open("rb") as file:
            yield file
