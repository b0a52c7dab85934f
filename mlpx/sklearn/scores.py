"""Scores on validation rows, computed where the rows are; the host reads a few sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mlpx.namespace import namespace_of
from mlpx.sklearn.placement import read
from mlpx.typing import Array


def accuracy(prediction: Array, targets: Array, weights: Array | None) -> float:
    """Share of the rows (of their weights) whose labels, all of them, are right; NaN if a prediction is not finite.

    Parameters
    ----------
    prediction : (n, k) probabilities, or (n, 1) of the second of two classes
    targets : (n,) labels, or (n, k) bits
    weights : (n,), optional
    """
    xp = namespace_of(prediction)
    if not bool(xp.all(xp.isfinite(prediction))):
        return math.nan
    if targets.ndim == 1:
        right = xp.argmax(prediction, axis=1) == targets
    else:
        right = xp.all((prediction > 0.5) == (targets > 0.5), axis=1)
    if weights is None:
        return int(xp.sum(xp.astype(right, xp.int32))) / right.shape[0]
    return float(xp.sum(weights * xp.astype(right, weights.dtype)) / xp.sum(weights))


def r2(prediction: Array, targets: Array, weights: Array | None) -> float:
    """1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², averaged over the outputs; NaN if a prediction is not finite.

    An output without spread counts 1 if it is predicted exactly, else 0.
    """
    xp = namespace_of(prediction)
    if not bool(xp.all(xp.isfinite(prediction))):
        return math.nan
    if weights is None:
        mean = xp.mean(targets, axis=0, keepdims=True)
        sums = [xp.sum((targets - other) ** 2, axis=0) for other in (prediction, mean)]
    else:
        w = weights[:, None]
        mean = xp.sum(w * targets, axis=0, keepdims=True) / xp.sum(weights)
        sums = [xp.sum(w * (targets - other) ** 2, axis=0) for other in (prediction, mean)]
    unexplained, spread = (read(one).astype(np.float64) for one in sums)
    share = np.divide(unexplained, spread, out=np.zeros_like(spread), where=spread != 0)
    scores = np.where(spread != 0, 1 - share, np.where(unexplained == 0, 1.0, 0.0))
    return float(np.mean(scores))


Score = Callable[[Array, Array, "Array | None"], float]
