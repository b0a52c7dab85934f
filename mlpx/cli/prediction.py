"""Predictions for the rows of a file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import numpy as np

from mlpx.cli.training_run import in_target_units
from mlpx.data import Encoder
from mlpx.errors import CheckpointMismatchError, ConfigError
from mlpx.train import load


@dataclass(frozen=True)
class Predictions:
    """One row of results for every row of data.

    Attributes
    ----------
    header : tuple of str
    rows : list of tuple
        The label and the probability of every class; or the predicted number.
    measured : dict of str to float
        Loss and metrics, where the data had the target.
    device : str
    """

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    measured: dict[str, float]
    device: str

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, file: TextIO) -> None:
        """Write a header and all rows."""
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.rows)

    def write(self, path: Path, *, force: bool) -> None:
        """Write a CSV file; ConfigError if there is one that may not be replaced."""
        if path.exists() and not force:
            raise ConfigError(f"--out {path} exists; choose another file, or allow it with --force")
        with path.open("w", newline="", encoding="utf-8") as file:
            self.to_csv(file)

    def measured_text(self) -> str:
        """Results in words, where there are any."""
        return "".join(f", {name} {value:.4f}" for name, value in self.measured.items())

    def record(self, out: Path | None) -> dict[str, Any]:
        """JSON values: results, device, and the rows or where they were written."""
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows] if out is None else str(out)
        return {"n": len(self), "device": self.device, "results": self.measured, "predictions": rows}


def predict(run: Path, source: str, *, device: str, missing: str) -> Predictions:
    """Read rows as the training rows were read, and predict them.

    Raises
    ------
    CheckpointError
        If there is no usable model in `run`.
    DataFileError
        If the file does not have the columns of training.
    """
    model = load(run, device)
    if "encoder" not in model.extras:
        raise CheckpointMismatchError(f"{run} was not written by `mlpx train`: it does not say how columns become inputs")
    encoder = Encoder.from_config(model.extras["encoder"])
    table = encoder.read(source, missing=cast("Literal['error', 'drop', 'fill']", missing))
    x = encoder.transform(table)
    measured = {}
    if encoder.target.name in table.names:
        measured = in_target_units(model.evaluate(x, encoder.transform_target(table)), encoder)
    output = np.asarray(model.predict_proba(x), dtype=np.float64)
    if encoder.task == "regression":
        values = encoder.inverse_target(output)
        return Predictions((encoder.target.name,), [(float(value),) for value in values], measured, str(model.device))
    labels = encoder.inverse_target(np.argmax(output, axis=1).astype(np.int32))
    header = (encoder.target.name, *(f"p({name})" for name in encoder.class_names))
    rows = [(label, *map(float, row)) for label, row in zip(labels.tolist(), output, strict=True)]
    return Predictions(header, rows, measured, str(model.device))
