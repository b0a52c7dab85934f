"""What was learned from the target column of the training rows, and the targets it becomes for a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlpx.data.assembly import written
from mlpx.data.column_encoding import refuse_overflow
from mlpx.data.files import excerpt
from mlpx.data.records import items, number, text, texts
from mlpx.data.scaling import Scaling
from mlpx.data.table import Table, missing_cells
from mlpx.errors import ConfigError, DataFileError, InvalidInputError, InvalidTypeError, unknown_name

TASKS = ("classification", "regression")
MOST_NUMERIC_CLASSES = 20
CLASSES_SHOWN = 20


@dataclass(frozen=True)
class ClassTarget:
    """Labels, texts or numbers, as the codes 0 … k − 1 of the sorted classes of the training rows."""

    task: ClassVar[str] = "classification"
    name: str
    classes: tuple[str, ...] | tuple[float, ...]

    @classmethod
    def fit(cls, table: Table, name: str) -> ClassTarget:
        """Learn the sorted classes from all rows of the table."""
        return cls(name, tuple(sorted(set(_complete(table, name).tolist()))))

    @classmethod
    def from_config(cls, record: Mapping[str, Any]) -> ClassTarget:
        """The target that `config` described; ConfigError if it describes none."""
        labels = items(record, "classes")
        if labels and all(isinstance(label, str) for label in labels):
            return cls(text(record, "name"), texts(record, "classes"))
        values = tuple(number({"name": "classes", "a class": label}, "a class") for label in labels)
        if not values or len(set(values)) < len(values):
            raise ConfigError("encoder: the classes of the target are missing or repeated")
        return cls(text(record, "name"), values)

    def config(self) -> dict[str, Any]:
        """What was learned, in JSON's types."""
        return {"name": self.name, "task": self.task, "classes": list(self.classes)}

    @property
    def kind(self) -> str:
        """What the target column of a table must hold."""
        return "text" if isinstance(self.classes[0], str) else "numeric"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as texts."""
        return tuple(label if isinstance(label, str) else written(label) for label in self.classes)

    def encode(self, table: Table) -> np.ndarray:
        """(n,) int32 codes of the labels."""
        index: dict[Any, int] = {label: code for code, label in enumerate(self.classes)}
        labels = _complete(table, self.name).tolist()
        codes = np.fromiter((index.get(label, -1) for label in labels), dtype=np.int32, count=len(table))
        if (codes < 0).any():
            row = int(np.argmax(codes < 0))
            label = excerpt(labels[row]) if isinstance(labels[row], str) else written(labels[row])
            more = ", …" if len(self.classes) > CLASSES_SHOWN else ""
            raise DataFileError(
                f"{table.place(row)}, column {self.name!r}: label {label} was never seen in training "
                f"({len(self.classes)} classes: {', '.join(self.class_names[:CLASSES_SHOWN])}{more})"
            )
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(n,) labels of codes: object if they are texts, int64 if they are whole numbers, else float64."""
        codes = np.asarray(codes)
        if codes.dtype.kind not in "iu" or codes.ndim != 1:
            raise InvalidTypeError(
                f"expected (n,) integer class codes, got {codes.dtype} of shape {codes.shape}; "
                "take argmax(axis=1) of the outputs"
            )
        if codes.size and (codes.min() < 0 or codes.max() >= len(self.classes)):
            raise InvalidInputError(f"class codes lie in 0 … {len(self.classes) - 1}, got {codes.min()} … {codes.max()}")
        if self.kind == "text":
            return np.array(self.classes, dtype=object)[codes]
        values = np.array(self.classes, dtype=np.float64)
        whole = bool((values == np.trunc(values)).all() and (np.abs(values) < 2.0**63).all())
        return (values.astype(np.int64) if whole else values)[codes]


@dataclass(frozen=True)
class NumberTarget:
    """A number to predict, standardised."""

    task: ClassVar[str] = "regression"
    kind: ClassVar[str] = "numeric"
    classes: ClassVar[tuple[()]] = ()
    class_names: ClassVar[tuple[str, ...]] = ()
    name: str
    scaling: Scaling

    @classmethod
    def fit(cls, table: Table, name: str, *, scale: bool) -> NumberTarget:
        """Learn the scaling from all rows of the table."""
        values = _complete(table, name)
        if table.is_text(name):
            raise ConfigError(
                f"{table.place(0)}, column {name!r}: {excerpt(values[0])} is text; task='regression' needs a target of numbers"
            )
        return cls(name, Scaling.of(values) if scale else Scaling())

    @classmethod
    def from_config(cls, record: Mapping[str, Any]) -> NumberTarget:
        """The target that `config` described; ConfigError if it describes none."""
        return cls(text(record, "name"), Scaling.from_config(record))

    def config(self) -> dict[str, Any]:
        """What was learned, in JSON's types."""
        return {"name": self.name, "task": self.task, **self.scaling.config()}

    def encode(self, table: Table) -> np.ndarray:
        """(n, 1) float64 standardised targets."""
        encoded = self.scaling.apply(_complete(table, self.name))
        refuse_overflow(table, self.name, encoded)
        return encoded[:, None]

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """(n,) float64 predictions in the target's own unit, from (n, 1) or (n,) standardised ones."""
        outputs = np.asarray(outputs)
        if outputs.dtype.kind != "f" or outputs.ndim not in (1, 2) or outputs.shape[1:] not in ((), (1,)):
            raise InvalidTypeError(f"expected (n, 1) floating outputs, got {outputs.dtype} of shape {outputs.shape}")
        return self.scaling.undo(outputs.reshape(-1).astype(np.float64))


Target = ClassTarget | NumberTarget


def target_fitted(table: Table, name: str, task: str | None, *, scale: bool) -> Target:
    """The target learned from all rows of the table.

    Unless `task` says so, texts are classes; numbers are classes if all are whole and at most 20 differ.
    """
    if task not in (None, *TASKS):
        raise unknown_name("task", task, TASKS)
    if task is None:
        values = _complete(table, name)
        if table.is_text(name):
            task = "classification"
        else:
            few_whole = len(np.unique(values)) <= MOST_NUMERIC_CLASSES and bool((values == np.trunc(values)).all())
            task = "classification" if few_whole else "regression"
    return ClassTarget.fit(table, name) if task == "classification" else NumberTarget.fit(table, name, scale=scale)


def target_from(record: Mapping[str, Any]) -> Target:
    """The target that `config` described; ConfigError if it describes none."""
    for target in (ClassTarget, NumberTarget):
        if record.get("task") == target.task:
            return target.from_config(record)
    raise ConfigError(f"encoder: task {record.get('task')!r} is unknown (allowed: {', '.join(TASKS)})")


def _complete(table: Table, name: str) -> np.ndarray:
    column = table.columns[name]
    holes = missing_cells(column)
    if holes.any():
        raise DataFileError(f"{table.place(int(np.argmax(holes)))}, column {name!r}: missing target; leave such rows out")
    return column
