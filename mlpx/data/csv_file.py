"""Reading CSV: the standard library splits lines into cells, everything that can be wrong is checked here.

The file is UTF-8 text (a byte order mark is dropped), its first line names the columns, every row has as many cells as
there are names. Memory is bounded by the table, never by a hostile line: a row may have 16 MiB, a cell 131,072
characters (the `csv` module's limit), a table 100,000 columns.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from mlpx.data.columns import BLANK, ColumnReader, is_number
from mlpx.data.files import check_not_a_bomb, excerpt, file_size, reading
from mlpx.data.options import ReadOptions
from mlpx.data.table import Table, check_names, finished
from mlpx.errors import DataFileError

MAX_ROW_BYTES = 16 * 2**20
CELLS_AT_ONCE = 2**15  # their texts then stay in cache from the tokenizer to the conversion
VOTERS = 1000
VOTING_CELLS = 10_000_000

_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_csv(path: str | Path, options: ReadOptions) -> Table:
    """The table in a CSV file, plain or compressed (`.gz`).

    Raises
    ------
    DataFileError
        If the file cannot be read or is not a table: with the line, the column and what was found.
    """
    compressed = str(path).lower().endswith(".gz")
    plain_name = str(path).lower().removesuffix(".gz")
    delimiter = options.delimiter or ("\t" if plain_name.endswith(".tsv") else ",")
    with reading(path) as file:
        if not compressed:
            return _table(_Lines(file, str(path)), str(path), delimiter, options)
        try:
            with gzip.open(file) as unpacked:
                _check_unpacked(cast("BinaryIO", unpacked), str(path), file_size(file))
                return _table(_Lines(cast("BinaryIO", unpacked), str(path)), str(path), delimiter, options)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFileError(f"{path}: is damaged or no gzip file: {error}; unpack it with gzip to see") from error


def _check_unpacked(unpacked: BinaryIO, source: str, stored: int) -> None:
    """Unpack once without looking, so that a bomb or a wrong checksum is known before a row is believed."""
    total = 0
    while part := unpacked.read(2**20):
        total += len(part)
        check_not_a_bomb(source, total, stored)
    unpacked.seek(0)


class _Lines:
    """The decoded lines of a file, one at a time, none longer than a row may be."""

    def __init__(self, file: BinaryIO, source: str):
        self._file, self._source = file, source
        self._offset = self._row_bytes = 0
        self.read = 0
        self.row_start = 1

    def start_row(self) -> None:
        """Say that the next line begins a row."""
        self.row_start = self.read + 1
        self._row_bytes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_BYTES + 1)
        if not line:
            raise StopIteration
        self._row_bytes += len(line)
        if self._row_bytes > MAX_ROW_BYTES:
            raise DataFileError(
                f"{self._source}, line {self.row_start}: the row is longer than {MAX_ROW_BYTES} bytes; "
                "is a quote not closed, or are line ends missing?"
            )
        if self._offset == 0:
            line = self._without_mark(line)
        text = self._decoded(line)
        self._offset += len(line)
        self.read += 1
        return text

    def _without_mark(self, line: bytes) -> bytes:
        for mark, encoding in _WIDE_MARKS:
            if line.startswith(mark):
                raise DataFileError(f"{self._source}: is {encoding} text (byte order mark at byte 0); save it as UTF-8")
        if line.startswith(codecs.BOM_UTF8):
            self._offset = len(codecs.BOM_UTF8)
            return line[self._offset :]
        return line

    def _decoded(self, line: bytes) -> str:
        zero = line.find(b"\0")
        if zero >= 0:
            wide = "it looks like UTF-16, save it as UTF-8" if line.count(b"\0") * 4 > len(line) else "is this a text file?"
            raise DataFileError(
                f"{self._source}, line {self.read + 1}: NUL byte at byte {self._offset + zero} of the file; {wide}"
            )
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataFileError(
                f"{self._source}, line {self.read + 1}: byte {self._offset + error.start} of the file "
                f"(0x{line[error.start]:02x}) is not UTF-8; it may be Windows-1252 or Latin-1, save the file as UTF-8"
            ) from error


def _table(lines: _Lines, source: str, delimiter: str, options: ReadOptions) -> Table:
    rows = _rows(lines, source, delimiter)
    names = _header(next(rows, None), source, delimiter)
    options.check_columns(source, names)
    target, ignored = options.target_among(names), options.ignored_among(names)
    voters = min(VOTERS, max(10, VOTING_CELLS // len(names)))
    readers = {
        name: ColumnReader(source, name, options.kind_of(name), is_target=name == target, voters=voters)
        for name in names
        if name not in ignored
    }
    if not readers:
        raise DataFileError(f"{source}: every column is ignored; leave at least one")
    places: list[np.ndarray] = []
    for numbers, cells in _chunks(rows, source, names):
        for name, column in zip(names, zip(*cells, strict=True), strict=True):
            if name in readers:
                readers[name].add(column, numbers)
        places.append(np.array(numbers, dtype=np.int64))
    columns = {name: reader.finish() for name, reader in readers.items()}
    lines_of_rows = np.concatenate(places) if places else np.empty(0, dtype=np.int64)
    return finished(Table(source, columns, lines_of_rows, "line", target, ignored), options.missing)


def _rows(lines: _Lines, source: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row; a blank line is an empty list."""
    cells = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != " ")
    while True:
        lines.start_row()
        try:
            row = next(cells, None)
        except csv.Error as error:
            raise DataFileError(f"{source}, line {lines.row_start}: {_what_is_wrong(error)}") from error
        if row is None:
            return
        yield lines.row_start, row


def _what_is_wrong(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end of data" in said:
        return "a quote is opened and not closed before the end of the file"
    if "field limit" in said:
        return f"a field is larger than {csv.field_size_limit()} characters; is a quote not closed?"
    if "expected after" in said:
        return 'text follows a closing quote; write a quote inside a quoted cell twice ("")'
    if "new-line character" in said:
        return "a carriage return inside the line; end lines with a line feed"
    return said


def _header(first: tuple[int, list[str]] | None, source: str, delimiter: str) -> list[str]:
    if first is None:
        raise DataFileError(f"{source}: is empty, it has no rows; the first line must name the columns")
    names = [cell.strip(BLANK) for cell in first[1]]
    if not names:
        raise DataFileError(f"{source}, line 1: is blank; the first line must name the columns")
    if len(names) == 1:
        for other in ";\t,|":
            if other != delimiter and other in names[0]:
                raise DataFileError(
                    f"{source}: one column found, {excerpt(names[0])}; did you mean delimiter={other!r}, not {delimiter!r}?"
                )
    if all(map(is_number, names)) and not _counts_up(names):
        raise DataFileError(f"{source}, line 1: holds numbers ({excerpt(names[0])}, …) where the columns must be named")
    check_names(source, names)
    return names


def _counts_up(names: list[str]) -> bool:
    """Whether numeric names can be meant as such: whole and increasing, as 0, 1, 2 or 2019, 2020."""
    if not all(name.isdigit() and len(name) < 10 for name in names):
        return False
    numbers = [int(name) for name in names]
    return all(a < b for a, b in pairwise(numbers))


def _chunks(
    rows: Iterator[tuple[int, list[str]]], source: str, names: list[str]
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Rows of the right width, many at a time. Blank lines are skipped; between rows of one column they are empty cells."""
    width, size = len(names), max(1, CELLS_AT_ONCE // len(names))
    numbers: list[int] = []
    cells: list[list[str]] = []
    blank: list[int] = []
    for line, row in rows:
        if not row:
            if width == 1:
                blank.append(line)
            continue
        if len(row) != width:
            raise _wrong_width(source, line, row, width)
        numbers += [*blank, line]
        cells += [*([""] for _ in blank), row]
        blank.clear()
        if len(cells) >= size:
            yield numbers, cells
            numbers, cells = [], []
    if cells:
        yield numbers, cells


def _wrong_width(source: str, line: int, row: list[str], width: int) -> DataFileError:
    cure = "fill the missing ones" if len(row) < width else "put cells that contain the delimiter in quotes"
    return DataFileError(f"{source}, line {line}: {len(row)} fields found, {width} expected (as the first line names); {cure}")
