"""What training recorded, epoch by epoch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class History:
    """One row an epoch: `history["loss"]` is a column; `len(history)` the number of epochs.

    Attributes
    ----------
    rows : list of dict of str to float
        "epoch" counts from 1; "loss" is the mean of the epoch's batch losses, structural risk included; "validation_loss" and
        "validation_<metric>" are measured after the epoch; "learning_rate" is that of its last step; "seconds" its duration.
    stopped : str
        Why training ended.
    device, dtype, precision : str
        Where and how it was computed.
    """

    def __init__(
        self, device: str = "", dtype: str = "", precision: str = "", rows: Sequence[Mapping[str, float]] = ()
    ) -> None:
        self.rows: list[dict[str, float]] = [dict(row) for row in rows]
        self.stopped = ""
        self.device = device
        self.dtype = dtype
        self.precision = precision

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in order of appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, column: str) -> list[float]:
        if column not in self.columns:
            raise KeyError(f"{column!r}; the history has {', '.join(self.columns) or 'no epochs'}")
        return [row.get(column, math.nan) for row in self.rows]

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, path: str | Path) -> None:
        """Write all rows with a header."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "rows": self.rows,
            "stopped": self.stopped,
            "device": self.device,
            "dtype": self.dtype,
            "precision": self.precision,
        }

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.6g}" for name, value in (self.rows[-1] if self.rows else {}).items())
        return (
            f"History({len(self)} epochs on {self.device or '?'}; {last or 'nothing recorded'}; {self.stopped or 'not ended'})"
        )
