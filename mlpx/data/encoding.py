"""From tables to the arrays a Trainer takes, the same way at training and at prediction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlpx.data.column_encoding import CategoricalColumn, Column, NumericColumn, column_from
from mlpx.data.files import excerpt
from mlpx.data.options import ReadOptions
from mlpx.data.records import items, mapping, texts
from mlpx.data.source import read_as
from mlpx.data.table import Missing, Table, check_known, listed
from mlpx.data.target_encoding import Target, target_fitted, target_from
from mlpx.errors import ConfigError, DataFileError, unknown_name

FORMAT = 1
UNSEEN = ("error", "zero")
Unseen = Literal["error", "zero"]


@dataclass(frozen=True)
class Encoder:
    """How columns become inputs and labels become targets, as learned from the training rows; make one with `Encoder.fit`.

    Attributes
    ----------
    columns : tuple
        What was learned from each input column, in order.
    target : ClassTarget or NumberTarget
        What was learned from the target.
    unseen : {"error", "zero"}
        What to do about a category that the training rows do not have: refuse it, or make it all zeros with a warning.
    ignored : tuple of str
        Columns of the source that are left out.
    """

    columns: tuple[Column, ...]
    target: Target
    unseen: Unseen = "error"
    ignored: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        table: Table,
        *,
        target: str | None = None,
        task: str | None = None,
        scale_inputs: bool = True,
        scale_target: bool = True,
        unseen: Unseen = "error",
    ) -> Encoder:
        """Learn from a table of training rows; give it `table.take(train_rows)`, never the rows to test on.

        Parameters
        ----------
        table : Table
        target : str, optional
            The column to predict; the table's own target if not given.
        task : {"classification", "regression"}, optional
            If not given: a target of texts is a classification; one of numbers is if all are whole and at most 20 differ.
        scale_inputs, scale_target : bool
            Standardise numeric inputs, and a regression's target, to mean 0 and standard deviation 1 (constants: scale 1).
        unseen : {"error", "zero"}
            See the class.

        Raises
        ------
        ConfigError
            If no target is known, or a setting is unknown or does not fit the target.
        DataFileError
            If a column is missing or empty, or has too many categories.
        """
        if unseen not in UNSEEN:
            raise unknown_name("unseen=", unseen, UNSEEN)
        name = table.target if target is None else target
        if name is None:
            raise ConfigError(f"{table.source}: which column is the target? (columns: {listed(table.names)})")
        check_known(table.source, "target", (name,), table.names)
        features = [feature for feature in table.names if feature != name]
        if not features or not len(table):
            raise DataFileError(f"{table.source}: {len(features)} input columns and {len(table)} rows; both are needed")
        columns = tuple(
            CategoricalColumn.fit(table, feature)
            if table.is_text(feature)
            else NumericColumn.fit(table, feature, scale=scale_inputs)
            for feature in features
        )
        return cls(columns, target_fitted(table, name, task, scale=scale_target), unseen, table.ignored)

    @property
    def task(self) -> str:
        """`classification` or `regression`."""
        return self.target.task

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of every column of `transform`'s result; a category is "column=category"."""
        return tuple(name for column in self.columns for name in column.outputs)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their codes; none for a regression."""
        return self.target.class_names

    @property
    def n_inputs(self) -> int:
        """Width of `transform`'s result."""
        return len(self.feature_names)

    @property
    def n_outputs(self) -> int:
        """Number of classes; 1 for a regression."""
        return len(self.class_names) or 1

    def read(
        self, source: str | Path, *, missing: Missing = "error", delimiter: str | None = None, with_target: bool = True
    ) -> Table:
        """Read a source as the training data was read: the same columns hold texts, the same are ignored.

        Parameters
        ----------
        source, missing, delimiter
            As in `mlpx.data.read`.
        with_target : bool
            Read the target column if it is there; it may be absent. To predict, leave it out: its cells are not looked at.

        Raises
        ------
        DataFileError
            As `mlpx.data.read`, and if the columns are not those of the training data.
        """
        kinds = {column.name: column.kind for column in self.columns} | {self.target.name: self.target.kind}
        options = ReadOptions(
            target=self.target.name if with_target else None,
            missing=missing,
            delimiter=delimiter,
            categorical=tuple(name for name, kind in kinds.items() if kind == "text"),
            numeric=tuple(name for name, kind in kinds.items() if kind == "numeric"),
            ignore=self.ignored if with_target else (*self.ignored, self.target.name),
            lenient=True,
        )
        table = read_as(source, options)
        self._check_columns(table)
        return table

    def transform(self, table: Table) -> np.ndarray:
        """Inputs of a network.

        Returns
        -------
        x : (n, n_inputs) float64
            Missing values become what the training rows have most or in the middle.

        Raises
        ------
        DataFileError
            If the columns, their order or kinds are not those of the training rows, or a category is new.
        """
        self._check_columns(table)
        x = np.empty((len(table), self.n_inputs))
        start, unseen = 0, []
        for column in self.columns:
            width = len(column.outputs)
            rows = column.encode(table, x[:, start : start + width])
            start += width
            if len(rows):
                unseen.append(
                    f"column {column.name!r}: {excerpt(str(table.columns[column.name][rows[0]]))} in {len(rows)} rows"
                )
                self._refuse_unseen(table, column, int(rows[0]))
        if unseen:
            said = "; ".join(unseen)
            warnings.warn(f"{table.source}: categories never seen in training are encoded as zeros: {said}", stacklevel=2)
        return x

    def transform_target(self, table: Table) -> np.ndarray:
        """Targets of a loss.

        Returns
        -------
        y : (n,) int32 class codes, or (n, 1) float64 standardised numbers

        Raises
        ------
        DataFileError
            If the table has no such column, or holds a label never seen in training.
        """
        name = self.target.name
        check_known(table.source, "target", (name,), table.names)
        if table.is_text(name) != (self.target.kind == "text"):
            raise self._wrong_kind(table, name, self.target.kind)
        return self.target.encode(table)

    def inverse_target(self, y: np.ndarray) -> np.ndarray:
        """Labels of (n,) class codes; or, for a regression, (n,) numbers in the target's unit of (n, 1) network outputs.

        Raises
        ------
        InvalidTypeError, InvalidInputError
            If `y` is neither, or a code is that of no class.
        """
        return self.target.decode(y)

    def config(self) -> dict[str, Any]:
        """Everything learned, in JSON's types; `from_config` makes an equal Encoder of it, also after a trip through JSON."""
        return {
            "format": FORMAT,
            "columns": [column.config() for column in self.columns],
            "target": self.target.config(),
            "unseen": self.unseen,
            "ignored": list(self.ignored),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Encoder:
        """The Encoder that `config` described.

        Raises
        ------
        ConfigError
            If it describes none: names what is wrong.
        """
        record = mapping(config, "the configuration")
        if record.get("format") != FORMAT:
            raise ConfigError(
                f"encoder: format {record.get('format')!r} is unknown (this version reads {FORMAT}); upgrade mlpx"
            )
        columns = tuple(column_from(mapping(column, "a column")) for column in items(record, "columns"))
        target = target_from(mapping(record.get("target"), "the target"))
        names = [column.name for column in columns] + [target.name]
        if not columns or len(set(names)) < len(names):
            raise ConfigError("encoder: its columns are missing, or two have one name")
        unseen = record.get("unseen")
        if unseen not in UNSEEN:
            raise unknown_name("unseen=", unseen, UNSEEN)
        return cls(columns, target, unseen, texts(record, "ignored"))

    def _check_columns(self, table: Table) -> None:
        expected = [column.name for column in self.columns]
        found = [name for name in table.names if name != self.target.name]
        lacking = [name for name in expected if name not in found]
        extra = [name for name in found if name not in expected]
        if lacking or extra:
            said = [f"missing: {listed(lacking)}"] * bool(lacking) + [f"not there in training: {listed(extra)}"] * bool(extra)
            counts = f"{len(found)} input columns, {len(expected)} in training"
            raise DataFileError(f"{table.source}: its columns are not those of the training data ({counts}); {'; '.join(said)}")
        if found != expected:
            at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
            raise DataFileError(
                f"{table.source}: its columns are in another order than in training: input {at + 1} is {found[at]!r}, "
                f"was {expected[at]!r} (order in training: {listed(expected)})"
            )
        for column in self.columns:
            if table.is_text(column.name) != (column.kind == "text"):
                raise self._wrong_kind(table, column.name, column.kind)

    def _wrong_kind(self, table: Table, name: str, kind: str) -> DataFileError:
        found, first = "text" if table.is_text(name) else "numeric", excerpt(str(table.columns[name][0]))
        return DataFileError(
            f"{table.place(0)}, column {name!r}: is {found} ({first}), was {kind} in training; "
            "read the file with the encoder's read"
        )

    def _refuse_unseen(self, table: Table, column: Column, row: int) -> None:
        if self.unseen == "error":
            known = listed(column.categories) if isinstance(column, CategoricalColumn) else ""
            found = excerpt(str(table.columns[column.name][row]))
            raise DataFileError(
                f"{table.place(row)}, column {column.name!r}: category {found} was never seen in training "
                f"(categories: {known}); an Encoder with unseen='zero' encodes such cells as zeros"
            )
