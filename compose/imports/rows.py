"""The rows of a file one after the other, never the whole file in memory."""

from __future__ import annotations

import csv
import gzip
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    except (UnicodeDecodeError, EOFError, zlib.error, pa.ArrowException) as error:
        raise EventsFileError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def _parquet_rows(path: Path, columns: Collection[str], check: Callable[[Collection[str]], object]) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        check(names)
        for batch in file.iter_batches(_BATCH_ROWS, columns=[name for name in names if name in columns]):
            yield from _plain_rows(path, batch)


def _plain_rows(path: Path, batch: pa.RecordBatch) -> list[Row]:
    try:
        return list(batch.to_pylist())
    except (OverflowError, LookupError, ValueError) as error:  # A time or a zone that Python does not know.
        raise EventsFileError(f"{path} holds a value that cannot be read: {error}") from error


def _csv_rows(
    path: Path, _columns: Collection[str], check: Callable[[Collection[str]], object]
) -> Iterator[Row | UnreadableRow]:
    with _opened(path) as lines:
        reader = csv.DictReader(_texts(path, lines))
        try:
            names = reader.fieldnames or ()
            check(names)
            for row in reader:
                if None in row:  # Where the cells that have no name are.
                    cells = len(names) + len(row[None])
                    yield UnreadableRow(f"has {cells} cells, but the header {len(names)}; quote what holds a comma")
                else:
                    yield row
        except csv.Error as error:
            hint = "; is a quote not closed?" if "limit" in str(error) else ""
            raise EventsFileError(f"cannot read {path}: line {reader.line_num + 1}: {error}{hint}") from error


def _texts(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise EventsFileError(f"cannot read {path}: line {number} is not UTF-8; save the file as UTF-8") from error


def _json_rows(
    path: Path, _columns: Collection[str], _check: Callable[[Collection[str]], object]
) -> Iterator[Row | UnreadableRow]:
    decode = msgspec.json.Decoder().decode
    with _opened(path) as lines:
        for line in lines:
            if line.isspace():
                continue
            try:
                row = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield UnreadableRow(f"is not JSON: {error}; a line holds one whole object")
                continue
            if isinstance(row, dict):
                yield row
            else:
                yield UnreadableRow(f"must be a JSON object, not {type(row).__name__}; a line holds one object")


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    """Open a text file, packed or not, as its lines without a byte order mark."""
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rb") as file:
            yield _unmarked(path, file)
    else:
        with path.open("rb") as plain:
            yield _unmarked(path, plain)


def _unmarked(path: Path, lines: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number == 0 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise EventsFileError(f"cannot read {path}: it is UTF-16; save the file as UTF-8")
        yield line.removeprefix(BOM_UTF8) if number == 0 else line  # Spreadsheets write one.
