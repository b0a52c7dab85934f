"""From columns that already have a type, as arrays and Parquet give them, to a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlpx.data.files import excerpt
from mlpx.data.options import Kind, ReadOptions
from mlpx.data.table import Table, check_names, finished, missing_cells
from mlpx.errors import DataFileError


def assembled(
    source: str,
    names: Sequence[str],
    column: Callable[[str], np.ndarray],
    options: ReadOptions,
    target: str | None = None,
) -> Table:
    """The table of the named columns, read as the options say.

    Parameters
    ----------
    source : str
    names : sequence of str
    column : callable
        Gives the float64 or object column of a name; not called for those to be ignored.
    options : ReadOptions
    target : str or None
        The target if the options name none.
    """
    check_names(source, names)
    options.check_columns(source, names)
    ignored = options.ignored_among(names)
    kept = {name: _as_kind(source, name, column(name), options.kind_of(name)) for name in names if name not in ignored}
    if not kept:
        raise DataFileError(f"{source}: every column is ignored; leave at least one")
    target = options.target_among(names) or (target if target in kept else None)
    rows = np.arange(1, len(next(iter(kept.values()))) + 1)
    return finished(Table(source, kept, rows, "row", target, ignored), options.missing)


def _as_kind(source: str, name: str, column: np.ndarray, kind: Kind | None) -> np.ndarray:
    """The column as texts or numbers if that was asked: 3.0 becomes "3"."""
    if kind == "text" and column.dtype != object:
        texts = np.empty(len(column), dtype=object)
        texts[:] = [None if value != value else written(value) for value in column.tolist()]
        return texts
    if kind == "numeric" and column.dtype == object:
        there = ~missing_cells(column)
        if not there.any():
            return np.full(len(column), np.nan)
        row = int(np.argmax(there))
        raise DataFileError(
            f"{source}, row {row + 1}, column {name!r}: {excerpt(str(column[row]))} is text, a column of numbers is expected"
        )
    return column


def written(value: float) -> str:
    """A number as a label reads: 3.0 is "3", 0.5 is "0.5"."""
    return str(int(value)) if value.is_integer() else repr(value)
