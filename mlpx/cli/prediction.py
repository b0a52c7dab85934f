"""Predictions for the rows of a file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import numpy as np

from mlpx.cli.run_folder import json_values
from mlpx.cli.training_run import in_target_units
from mlpx.data import Encoder, Table
from mlpx.errors import CheckpointMismatchError, CheckpointWriteError, ConfigError, DataFileError
from mlpx.store.durable import replace_file
from mlpx.train import load


@dataclass(frozen=True)
class Predictions:
    """One row of results for every row of data.

    Attributes
    ----------
    header : tuple of str
    rows : list of tuple
        The label and the probability of every class, or the predicted number; in front of it, where rows with missing values
        were dropped, the line or row of the source it belongs to.
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

    def write(self, path: Path) -> None:
        """Write a CSV file: all of it or, after a failure, nothing."""
        text = io.StringIO(newline="")
        self.to_csv(text)
        try:
            replace_file(path, text.getvalue().encode(), overwrite=True)
        except CheckpointWriteError as error:
            raise ConfigError(f"--out {path} cannot be written: {error.strerror}") from error

    def measured_text(self) -> str:
        """Results in words, where there are any."""
        return "".join(f", {name} {value:.4f}" for name, value in self.measured.items())

    def record(self, out: Path | None) -> dict[str, Any]:
        """JSON values: results, device, and the rows or where they were written."""
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows] if out is None else str(out)
        return json_values({"n": len(self), "device": self.device, "results": self.measured, "predictions": rows})


def check_writable(out: Path, *, force: bool) -> None:
    """Raise ConfigError, before any work is done, if there is a file that may not be replaced or no folder for it."""
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; name a file")
    if out.exists() and not force:
        raise ConfigError(f"--out {out} exists; choose another file, or allow it with --force")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


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
    table = _read(encoder, source, cast("Literal['error', 'drop', 'fill']", missing))
    x = encoder.transform(table)
    measured = {}
    if encoder.target.name in table.names:
        measured = in_target_units(model.evaluate(x, encoder.transform_target(table)), encoder)
    output = np.asarray(model.predict_proba(x), dtype=np.float64)
    header: tuple[str, ...] = (encoder.target.name,)
    if encoder.task == "regression":
        rows: list[tuple[Any, ...]] = [(float(value),) for value in encoder.inverse_target(output)]
    else:
        labels = encoder.inverse_target(np.argmax(output, axis=1).astype(np.int32))
        header += tuple(f"p({name})" for name in encoder.class_names)
        rows = [(label, *map(float, row)) for label, row in zip(labels.tolist(), output, strict=True)]
    if missing == "drop":
        header = (table.unit, *header)
        rows = [(place, *row) for place, row in zip(table.places.tolist(), rows, strict=True)]
    return Predictions(header, rows, measured, str(model.device))


def _read(encoder: Encoder, source: str, missing: Literal["error", "drop", "fill"]) -> Table:
    """The rows, with their target if there is one; where both inputs and target are wrong, the error is about the inputs."""
    try:
        return encoder.read(source, missing=missing)
    except DataFileError:
        encoder.read(source, missing=missing, with_target=False)
        raise
