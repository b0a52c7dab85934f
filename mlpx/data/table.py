"""A table: named columns of numbers or texts, each row knowing where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from mlpx.errors import DataFileError

Missing = Literal["error", "drop", "fill"]
NAMES_SHOWN = 20
NO_TEXT: Any = None
MAX_COLUMNS = 100_000


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, read from a file or generated.

    Attributes
    ----------
    source : str
        Name of the file or built-in set, for messages.
    columns : mapping of str to (n,) array
        Float64 for numbers, NaN where a value is missing; object for texts, None where one is missing.
    places : (n,) int64
        Number of each row in its source, from 1: the line of a text file, the row of an array file.
    unit : {"line", "row"}
        What `places` counts.
    target : str or None
        The column to predict, if it is known.
    ignored : tuple of str
        Columns of the source that were left out on request.
    """

    source: str
    columns: Mapping[str, np.ndarray]
    places: np.ndarray
    unit: str = "row"
    target: str | None = None
    ignored: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.places)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return tuple(self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all columns but the target, in order."""
        return tuple(name for name in self.columns if name != self.target)

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts (categories) rather than numbers."""
        return self.columns[name].dtype == object

    def take(self, rows: np.ndarray) -> Table:
        """The table of the given rows, in the given order.

        Parameters
        ----------
        rows : (m,) integer or boolean
            Row indices from 0, or a mask over all rows.
        """
        columns = {name: column[rows] for name, column in self.columns.items()}
        return replace(self, columns=columns, places=self.places[rows])

    def place(self, row: int) -> str:
        """Where a row stands in its source, for messages: "data.csv, line 7"."""
        return f"{self.source}, {self.unit} {self.places[row]}"

    def fingerprint(self) -> str:
        """SHA-256 over names, kinds and values: equal for equal data, whatever file it came from."""
        digest = hashlib.sha256()
        for name, column in self.columns.items():
            text = column.dtype == object
            values = json.dumps(column.tolist()).encode() if text else column.astype("<f8").tobytes()
            digest.update(f"{name}\0{'text' if text else 'numeric'}\0{len(values)}\0".encode())
            digest.update(values)
        return digest.hexdigest()


def finished(table: Table, missing: Missing) -> Table:
    """The table with infinite values refused and missing ones treated as asked; at least one row is left.

    Under "fill" the gaps stay (NaN, None) for the Encoder, which fills them with what it learned from the training rows.
    """
    if not len(table):
        raise DataFileError(f"{table.source}: has no rows; it needs at least one row of data")
    gaps = np.zeros(len(table), dtype=bool)
    for name in table.columns:
        holes = missing_cells(table.columns[name])
        if not table.is_text(name):
            _refuse_infinite(table, name)
        if holes.any() and (missing == "error" or (missing == "fill" and name == table.target)):
            raise _missing_value(table, name, int(np.argmax(holes)), int(holes.sum()), missing)
        gaps |= holes
    if missing != "drop" or not gaps.any():
        return table
    if gaps.all():
        raise DataFileError(
            f"{table.source}: no rows are left: each of the {len(table)} has a missing value; fill them instead"
        )
    return table.take(~gaps)


def missing_cells(column: np.ndarray) -> np.ndarray:
    """(n,) mask of the cells that hold no value."""
    return np.equal(column, NO_TEXT) if column.dtype == object else np.isnan(column)


def check_names(source: str, names: Sequence[str]) -> None:
    """Raise DataFileError unless there are columns, not too many, each with a name of its own."""
    if not 0 < len(names) <= MAX_COLUMNS:
        raise DataFileError(f"{source}: has {len(names)} columns; 1 to {MAX_COLUMNS} are taken")
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise DataFileError(f"{source}: column {number} has no name; the first line must name every column")
        if name in seen:
            raise DataFileError(f"{source}: two columns are named {name!r}; give every column its own name")
        seen.add(name)


def check_known(source: str, role: str, wanted: Collection[str], names: Sequence[str]) -> None:
    """Raise DataFileError, naming the nearest column, for a wanted column that is not there."""
    for name in wanted:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataFileError(f"{source}: there is no {role} column {name!r}{hint} (columns: {listed(names)})")


def listed(names: Sequence[str]) -> str:
    """Names in a row for a message, the first of many."""
    more = f", … {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _refuse_infinite(table: Table, name: str) -> None:
    infinite = np.isinf(table.columns[name])
    if infinite.any():
        row = int(np.argmax(infinite))
        raise DataFileError(
            f"{table.place(row)}, column {name!r}: the value is infinite ({int(infinite.sum())} in this column); "
            "numbers must be finite"
        )


def _missing_value(table: Table, name: str, row: int, count: int, missing: Missing) -> DataFileError:
    if missing == "fill":
        cure = "a missing target cannot be filled; missing='drop' leaves such rows out"
    else:
        cure = "missing='drop' leaves such rows out, missing='fill' fills them"
    return DataFileError(f"{table.place(row)}, column {name!r}: missing value ({count} in this column); {cure}")
