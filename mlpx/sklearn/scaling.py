"""Standardisation of inputs and targets inside an estimator, where the data is."""

from __future__ import annotations

from typing import NamedTuple

from mlpx.namespace import namespace_of
from mlpx.typing import Array


class Scaling(NamedTuple):
    """Mean and scale of every column: (1, d) each."""

    mean: Array
    scale: Array

    def apply(self, table: Array) -> Array:
        """(x − mean) / scale."""
        return (table - self.mean) / self.scale

    def undo(self, table: Array) -> Array:
        """The inverse of `apply`."""
        return table * self.scale + self.mean


def fitted_scaling(table: Array, weights: Array | None = None) -> Scaling:
    """Weighted mean and standard deviation of the columns; a constant column keeps scale 1."""
    xp = namespace_of(table)
    if weights is None:
        mean = xp.mean(table, axis=0, keepdims=True)
        variance = xp.mean((table - mean) ** 2, axis=0, keepdims=True)
    else:
        share = (weights / xp.sum(weights))[:, None]
        mean = xp.sum(share * table, axis=0, keepdims=True)
        variance = xp.sum(share * (table - mean) ** 2, axis=0, keepdims=True)
    deviation = xp.sqrt(variance)
    constant_column = deviation <= 10 * float(xp.finfo(table.dtype).eps) * xp.abs(mean)
    return Scaling(mean, deviation + xp.astype(constant_column, table.dtype) * (1 - deviation))
