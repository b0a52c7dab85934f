"""What was learned from an input column of the training rows, and the numbers it becomes for a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlpx.data.records import number, text, texts
from mlpx.data.scaling import Scaling
from mlpx.data.table import Table, missing_cells
from mlpx.errors import ConfigError, DataFileError

MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers, standardised; missing ones become the median of the training rows."""

    kind: ClassVar[str] = "numeric"
    name: str
    scaling: Scaling
    fill: float

    @classmethod
    def fit(cls, table: Table, name: str, *, scale: bool) -> NumericColumn:
        """Learn scaling and median from all rows of the table."""
        values = _present(table, name)
        return cls(name, Scaling.of(values) if scale else Scaling(), float(np.median(values)))

    @classmethod
    def from_config(cls, record: Mapping[str, Any]) -> NumericColumn:
        """The column that `config` described; ConfigError if it describes none."""
        return cls(text(record, "name"), Scaling.from_config(record), number(record, "fill"))

    def config(self) -> dict[str, Any]:
        """What was learned, in JSON's types."""
        return {"name": self.name, "kind": self.kind, **self.scaling.config(), "fill": self.fill}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the numbers this column becomes."""
        return (self.name,)

    def encode(self, table: Table, into: np.ndarray) -> np.ndarray:
        """Write the (n, 1) numbers of a table's rows; returns the rows that could not be encoded: none."""
        values = table.columns[self.name]
        into[:, 0] = self.scaling.apply(np.where(np.isnan(values), self.fill, values))
        refuse_overflow(table, self.name, into[:, 0])
        return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of texts as one-hot numbers; missing ones become the most frequent text of the training rows."""

    kind: ClassVar[str] = "text"
    name: str
    categories: tuple[str, ...]
    fill: str

    @classmethod
    def fit(cls, table: Table, name: str) -> CategoricalColumn:
        """Learn the sorted categories and the most frequent one (of equals, the first) from all rows of the table."""
        counts = Counter(_present(table, name).tolist())
        if len(counts) > MAX_CATEGORIES:
            raise DataFileError(
                f"{table.source}, column {name!r}: {len(counts)} different texts in {len(table)} rows, at most "
                f"{MAX_CATEGORIES} categories are taken; if the column identifies rows, ignore it"
            )
        return cls(name, tuple(sorted(counts)), min(counts, key=lambda category: (-counts[category], category)))

    @classmethod
    def from_config(cls, record: Mapping[str, Any]) -> CategoricalColumn:
        """The column that `config` described; ConfigError if it describes none."""
        column = cls(text(record, "name"), texts(record, "categories"), text(record, "fill"))
        if column.fill not in column.categories:
            raise ConfigError(f"encoder: the fill {column.fill!r} of column {column.name!r} is none of its categories")
        return column

    def config(self) -> dict[str, Any]:
        """What was learned, in JSON's types."""
        return {"name": self.name, "kind": self.kind, "categories": list(self.categories), "fill": self.fill}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the numbers this column becomes."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    def encode(self, table: Table, into: np.ndarray) -> np.ndarray:
        """Write the (n, k) one-hot rows; returns the rows whose text was never seen, which are left all zero."""
        index = {category: code for code, category in enumerate(self.categories)}
        cells = (self.fill if cell is None else cell for cell in table.columns[self.name])
        codes = np.fromiter((index.get(cell, -1) for cell in cells), dtype=np.int64, count=len(table))
        into[...] = 0.0
        seen = np.flatnonzero(codes >= 0)
        into[seen, codes[seen]] = 1.0
        return np.flatnonzero(codes < 0)


Column = NumericColumn | CategoricalColumn


def column_from(record: Mapping[str, Any]) -> Column:
    """The input column that `config` described; ConfigError if it describes none."""
    for column in (NumericColumn, CategoricalColumn):
        if record.get("kind") == column.kind:
            return column.from_config(record)
    raise ConfigError(f"encoder: kind {record.get('kind')!r} of a column is unknown (allowed: numeric, text)")


def refuse_overflow(table: Table, name: str, encoded: np.ndarray) -> None:
    """Raise DataFileError for the first row whose value is too far from the training rows to be a float64 after scaling."""
    finite = np.isfinite(encoded)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataFileError(
            f"{table.place(row)}, column {name!r}: {table.columns[name][row]:g} is too far from the values of the training rows"
        )


def _present(table: Table, name: str) -> np.ndarray:
    column = table.columns[name]
    values = column[~missing_cells(column)]
    if not len(values):
        raise DataFileError(
            f"{table.source}: column {name!r} has no value in any of the {len(table)} training rows; ignore the column"
        )
    return values
